"""Commands, one file each; `bench.cli` registers them. Nothing heavy is imported before a command runs."""
