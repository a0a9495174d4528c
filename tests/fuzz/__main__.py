"""`python -m tests.fuzz --seed 0 --inputs 100000 [--target NAME ...]`: bad inputs, and what became of them, as JSON."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from dataclasses import asdict

from tests.fuzz.harness import run_target
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all targets together, shared by their cost")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each target")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="default: all")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # of what is put into quarantine
    chosen = options.target or list(TARGETS)
    whole = sum(TARGETS[name].share for name in chosen)
    outcomes = {}
    for name in chosen:
        inputs = round(options.inputs * TARGETS[name].share / whole)
        outcomes[name] = run_target(name, TARGETS[name], options.seed, inputs, options.first)
        print(f"{name}: {asdict(outcomes[name]) | {'failures': '...'}}", file=sys.stderr, flush=True)
    failed = sum(outcome.failed for outcome in outcomes.values())
    total = sum(outcome.inputs for outcome in outcomes.values())
    found = {name: asdict(outcome) for name, outcome in outcomes.items()}
    print(json.dumps({"seed": options.seed, "inputs": total, "failed": failed, "targets": found}, indent=1))
    return 1 if failed else 0


sys.exit(main())
