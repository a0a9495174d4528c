"""`python -m bench.run [STUDY]` is `bench run [STUDY]`."""

from __future__ import annotations

import sys

from bench.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
