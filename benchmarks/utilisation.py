"""What share of a study's wall time the cores spend on its work.

    python benchmarks/utilisation.py                                             # the quick start
    python benchmarks/utilisation.py search_spaces/paper_few_shot_small.yaml     # a longer one
    python benchmarks/utilisation.py --of results --study NAME --wall 841        # one that was run before

Work is what the rows and trials say of themselves: seconds of pretraining (once a pretraining), of every trial, and of
judging every cell. The rest of wall time x cores is start and end of Python, torch and Ray, reading, writing, cores
that wait for the last task. These are wall seconds: what a busy machine takes from a unit that runs counts as work. The
time to the first and from the last row is printed too: there no core can be kept busy.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from pairs import write

from bench.results.opening import find_study, read_rows
from bench.store.fragments import Fragments


def run(study: str | None, root: Path, overrides: list[str]) -> float:
    """Wall seconds of the study in a fresh folder."""
    command = [sys.executable, "-m", "bench.run", *([study] if study else []), "--results", str(root)]
    begun = time.perf_counter()
    subprocess.run([*command, *(part for item in overrides for part in ("--set", item))], check=True)
    return time.perf_counter() - begun


def work(root: Path, study: str | None) -> dict[str, Any]:
    """Core seconds of a study by what they were spent on, and when its first and last row were finished."""
    asked = find_study(root, study)
    if asked is None:
        raise SystemExit(f"no study in {root}")
    rows = read_rows(root, asked, ("pretrain_key", "pretrain_seconds", "evaluate_seconds", "finished"))
    trials = Fragments(root, "trials").scan().filter(pl.col("search_key").is_in(asked.search_keys)).collect()
    return {
        "pretraining": float(rows.unique("pretrain_key")["pretrain_seconds"].sum()),
        "judging": float(rows["evaluate_seconds"].sum()),
        "trials": float(trials["seconds"].sum()) if trials.height else 0.0,
        "first": rows["finished"].min(),
        "last": rows["finished"].max(),
    }


def report(found: dict[str, Any], wall: float, cores: int, begun: datetime | None) -> dict[str, Any]:
    busy = found["pretraining"] + found["judging"] + found["trials"]
    share = busy / (cores * wall)
    parts = ", ".join(f"{name} {found[name]:.0f} s" for name in ("pretraining", "trials", "judging"))
    print(f"{wall:.0f} s x {cores} cores: {share:.1%} is work ({parts})")
    summary = {
        "wall": wall,
        "cores": cores,
        "share": share,
        **{k: found[k] for k in ("pretraining", "trials", "judging")},
    }
    if begun is not None:
        ahead = (found["first"] - begun).total_seconds()
        behind = wall - (found["last"] - begun).total_seconds()
        print(f"first row after {ahead:.0f} s, end {behind:.0f} s behind the last row")
        summary |= {"ahead": ahead, "behind": behind}
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", help="default: the quick start")
    parser.add_argument("--set", action="append", default=[], help="passed on")
    parser.add_argument("--of", type=Path, help="a results folder of a study that was run before")
    parser.add_argument("--study", dest="name", help="its name or key")
    parser.add_argument("--wall", type=float, help="the wall seconds that its run printed")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    if options.of is not None:
        if options.wall is None:
            parser.error("--of needs --wall")
        write(options.output, report(work(options.of, options.name), options.wall, options.cores, None))
        return
    with tempfile.TemporaryDirectory() as folder:
        root, begun = Path(folder) / "results", datetime.now().astimezone()
        wall = run(options.study, root, options.set)
        write(options.output, report(work(root, None), wall, options.cores, begun))


if __name__ == "__main__":
    main()
