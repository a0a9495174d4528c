"""Where it runs: Ray."""
