"""Planning a finished study again: what `bench run` does before it can say that there is nothing to do.

    python benchmarks/replan.py            # 100,000 units: 100 settings x 500 seeds x 2 protocols, 5 rows each
    python benchmarks/replan.py --quick    # 2,000 units

The store holds every row of the study in compacted fragments of 50,000 rows. Timed: expanding the study into units and
row keys, reading the keys of the store, and finding that none is missing; beside it, as many keys hashed by SHA-256
from texts of that length, which no plan can do without. The aim is 10 s.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pairs import Spent, compare, spent, take_turns, write

from bench.store.datasets import DataRecord
from bench.store.fragments import Fragments
from bench.store.schema import ROWS, SCHEMA_VERSION
from bench.study.load import parse_study
from bench.study.plan import build_plan
from bench.study.spec import Study

RECORD = DataRecord("d", "s", "digits", "f", "p", (8, 8, 1), tuple("0123456789"), (90,) * 10, 900, 200, 400)
PROTOCOLS, BUDGETS, FRAGMENT = ("linear", "knn"), (1, 2, 5, 10, 20), 50_000
AIM = 10.0


def study_of(settings: int, seeds: int) -> Study:
    entries = [{"protocol": name, "label_budgets": list(BUDGETS), "draws": 1} for name in PROTOCOLS]
    return parse_study(
        {
            "study": "replanned",
            "data": {"name": "digits"},
            "methods": {"mae": {"epochs": 1}},
            "scientific": {"mae.mask_ratio": [round(0.1 + 0.8 * number / settings, 4) for number in range(settings)]},
            "seeds": seeds,
            "evaluate": entries,
        },
        "benchmark",
    )


def fill(root: Path, keys: Sequence[str]) -> None:
    """Rows with these keys, of which a plan reads no more than key, status and schema."""
    for start in range(0, len(keys), FRAGMENT):
        some = keys[start : start + FRAGMENT]
        table = pl.DataFrame({"row_key": some}).with_columns(
            schema_version=pl.lit(SCHEMA_VERSION, dtype=pl.Int64), unit_key="row_key", status=pl.lit("ok")
        )
        empty = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in ROWS.items() if name not in table.columns]
        Fragments(root, "rows").write(table.with_columns(empty).select(ROWS.names()))


def plan_again(study: Study, root: Path) -> Spent:
    def run() -> None:
        plan = build_plan(study, RECORD, {})
        present = Fragments(root, "rows").keys()
        left = [item for item in plan.pretrainings if item.missing(present)]
        if left:
            raise RuntimeError(f"{len(left)} pretrainings of a finished study are missing")

    return spent(run)


def hash_alone(rows: int) -> Spent:
    text = "x" * 120  # about what a row key is made of
    return spent(lambda: [hashlib.sha256(f"{text}{number}".encode()).hexdigest() for number in range(rows)])


def measure(settings: int, seeds: int, rounds: int) -> dict[str, Any]:
    study = study_of(settings, seeds)
    plan = build_plan(study, RECORD, {})
    keys = plan.row_keys()
    units = sum(len(item.units) for item in plan.pretrainings)
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), keys)
        name = f"{units:,} units, {len(keys):,} rows"
        found = compare(
            name, take_turns(lambda: plan_again(study, Path(folder)), lambda: hash_alone(len(keys)), rounds)
        )
    seconds = {kind: float(np.median([one["ours"][kind] for one in found["rounds"]])) for kind in ("wall", "processor")}
    each = 1e6 * seconds["processor"] / units
    verdict = "met" if seconds["processor"] * 100_000 / units <= AIM else "missed"
    print(f"    processor {seconds['processor']:.2f} s, {each:.0f} us a unit; aim 10 s for 100,000 units: {verdict}")
    return {**found, **seconds, "units": units, "rows": len(keys), "ratio": found["processor"][0], "aim": AIM}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 units, 3 rounds")
    parser.add_argument("--units", type=int, default=100_000, help="two of each pretraining")
    parser.add_argument("--seeds", type=int, default=500, help="of a setting")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that are timed")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    if options.quick:
        options.units, options.seeds, options.rounds = 2_000, 50, min(3, options.rounds)
    settings = max(1, options.units // (len(PROTOCOLS) * options.seeds))
    write(options.output, measure(settings, options.seeds, options.rounds))


if __name__ == "__main__":
    main()
