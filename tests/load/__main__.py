"""`python -m tests.load store|dashboard|soak [--json PATH] ...`: prints what was measured, and writes it as JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tests.load.measures import report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--json", type=Path, default=None)
    kinds = parser.add_subparsers(dest="kind", required=True)
    store = kinds.add_parser("store", help="writers and readers of one results folder at once")
    store.add_argument("--writers", type=int, default=20)
    store.add_argument("--readers", type=int, default=5)
    store.add_argument("--seconds", type=float, default=60.0)
    store.add_argument("--write-pause", type=float, default=0.0, help="seconds")
    store.add_argument("--read-pause", type=float, default=0.0, help="seconds")
    store.add_argument("--compact-every", type=float, default=0.0, help="seconds; 0: never")
    dashboard = kinds.add_parser("dashboard", help="browsers on a large store into which a study writes")
    dashboard.add_argument("--rows", type=int, default=1_000_000)
    dashboard.add_argument("--fragments", type=int, default=10_000)
    dashboard.add_argument("--compacted", action="store_true", help="merge the fragments first, as `bench gc` does")
    dashboard.add_argument("--store", type=Path, default=None, help="a store that is there already; it is written to")
    dashboard.add_argument("--browsers", type=int, default=20)
    dashboard.add_argument("--wires", action="store_true", help="readers without a browser, which fills the cores")
    dashboard.add_argument("--seconds", type=float, default=300.0)
    dashboard.add_argument("--write-every", type=float, default=10.0, help="seconds; 0: nobody writes")
    dashboard.add_argument("--think", type=float, default=5.0, help="seconds that a reader looks at a page")
    dashboard.add_argument("--seed", type=int, default=0)
    soak = kinds.add_parser("soak", help="one study for long, with a fault a minute")
    soak.add_argument("--minutes", type=float, default=30.0)
    soak.add_argument("--every", type=float, default=60.0, help="seconds; within each of them one fault")
    soak.add_argument("--seeds", type=int, default=10, help="that the study has at first, and gains when it is done")
    soak.add_argument("--seed", type=int, default=0)
    soak.add_argument("--only", action="append", default=None, help="kinds of faults; default: all")
    asked = vars(parser.parse_args())
    kind, path = asked.pop("kind"), asked.pop("json")
    found, passed = RUNS[kind](asked)
    report(found, path)
    return 0 if passed else 1


def _store(asked: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    from tests.load.store import BAD, Load, run

    found = run(Load(**asked))
    return found, not any(found[name] for name in BAD)


def _dashboard(asked: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    from tests.load.dashboard import Load, run

    found = run(Load(**asked))
    return found, not found["errors"]


def _soak(asked: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    from tests.load.soak import Soak, run

    found = run(Soak(**asked))
    return found, not any(found[name] for name in ("lost", "duplicated", "changed", "stalled"))


RUNS = {"store": _store, "dashboard": _dashboard, "soak": _soak}

if __name__ == "__main__":
    sys.exit(main())
