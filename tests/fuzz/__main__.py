"""`python -m tests.fuzz --seed 0 --inputs 104000 [--target NAME ...]`: bad inputs, and what became of them, as JSON."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from dataclasses import asdict

from tests.fuzz.harness import run_target
from tests.fuzz.targets import NAMES, target


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=104_000, help="of all targets together, shared by their cost")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each target")
    parser.add_argument("--target", action="append", choices=sorted(NAMES), help="default: all")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # of what is put into quarantine
    chosen = {name: target(name) for name in options.target or NAMES}
    whole = sum(found.share for found in chosen.values())
    outcomes = {}
    for name, found in chosen.items():
        inputs = round(options.inputs * found.share / whole)
        outcomes[name] = run_target(name, found, options.seed, inputs, options.first)
        print(f"{name}: {asdict(outcomes[name]) | {'failures': '...'}}", file=sys.stderr, flush=True)
    failed = sum(outcome.failed for outcome in outcomes.values())
    total = sum(outcome.inputs for outcome in outcomes.values())
    targets = {name: asdict(outcome) for name, outcome in outcomes.items()}
    said = {"seed": options.seed, "first": options.first, "inputs": total, "failed": failed, "targets": targets}
    print(json.dumps(said, indent=1))
    return 1 if failed else 0


sys.exit(main())
