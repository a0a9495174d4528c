"""`make bench-quick`: a corner of every benchmark, its ratios beside those committed in quick.json.

    python benchmarks/quick.py              # compare; exit status 1 where a ratio fell by more than 20 %
    python benchmarks/quick.py --keep       # write what was measured into quick.json
    python benchmarks/quick.py --only knn   # one script

Ratios of the same two sides on the same machine are compared, never seconds, so that a committed number holds elsewhere
about as well as here; of processor time where a script measures it, because other work on a machine moves that least. A
script that fails, or takes longer than its share of the time, is named and counted as fallen.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COMMITTED = HERE / "quick.json"
FALL, LIMIT = 0.2, 60  # share of a ratio that may be lost; seconds a script may take, on a machine three times as slow

Ratios = dict[str, float]


@dataclass(frozen=True)
class Corner:
    """A script, its arguments, and where in its JSON the ratios are (ours over theirs: more is better)."""

    script: str
    arguments: tuple[str, ...]
    ratios: Callable[[Any], Ratios]


def _named(lines: list[Mapping[str, Any]]) -> Ratios:
    return {str(line["name"]): float(line["ratio"]) for line in lines}


CORNERS = (
    Corner("startup", ("--quick", "--rounds", "3"), lambda found: _named(found["doors"])),
    Corner(
        "images",
        ("--quick", "--rounds", "1"),
        lambda found: {"build": found["build"]["ratio"]} | _named(found["epoch"]),
    ),
    Corner("pretext", ("--quick",), lambda found: _named(found["cases"])),
    Corner("replan", ("--quick",), lambda found: {"replan": found["ratio"]}),
    Corner("chips", ("--quick",), lambda found: _named(found["parts"])),
    Corner("knn", ("--quick", "--rounds", "2"), lambda found: {"all cells": found["processor"][0]}),
    Corner(
        "heads",
        ("--quick", "--cores", "1", "--rounds", "2", "--sample", "2"),
        lambda found: {"all heads": found["processor"][0]},
    ),
    Corner(
        "mae",
        ("--quick", "--cores", "1", "--rounds", "6", "--steps", "1"),
        lambda found: {"step": found["sizes"][0]["sides"]["ours"]["speed"][0]},
    ),
    Corner(
        "mae",
        ("--quick", "--cores", "1", "--rounds", "6", "--steps", "1", "--precision", "bf16"),
        lambda found: {"step, bf16": found["sizes"][0]["sides"]["ours"]["speed"][0]},
    ),
)


def measure(corner: Corner) -> Ratios:
    """The ratios of one corner.

    Raises:
        RuntimeError: the script failed or took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "found.json"
        command = [sys.executable, str(HERE / f"{corner.script}.py"), *corner.arguments, "--output", str(output)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"took longer than {LIMIT} s") from error
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no word"])[-1])
        return {
            f"{corner.script}: {name}": value for name, value in corner.ratios(json.loads(output.read_text())).items()
        }


def verdict(name: str, found: float, committed: Ratios) -> tuple[str, bool]:
    """A line on one ratio, and whether it fell by more than allowed."""
    before = committed.get(name)
    if before is None:
        return f"{name:<48} {found:8.2f}        -  new", False
    fell = found < (1 - FALL) * before
    return f"{name:<48} {found:8.2f} {before:8.2f}  {found / before - 1:+.0%}{'  FELL' if fell else ''}", fell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="write the ratios into quick.json")
    parser.add_argument("--only", choices=sorted({corner.script for corner in CORNERS}), default=None)
    options = parser.parse_args()
    committed: Ratios = json.loads(COMMITTED.read_text()) if COMMITTED.exists() else {}
    began, found, fallen = time.perf_counter(), {}, 0
    print(f"{'ratio':<48} {'now':>8} {'before':>8}")
    for corner in CORNERS:
        if options.only not in (None, corner.script):
            continue
        try:
            ratios = measure(corner)
        except RuntimeError as error:
            print(f"{corner.script}: {error}", flush=True)
            fallen += 1
            continue
        found |= ratios
        for name, ratio in ratios.items():
            line, fell = verdict(name, ratio, committed)
            print(line, flush=True)
            fallen += fell
    print(
        f"{len(found)} ratios in {time.perf_counter() - began:.0f} s; {fallen} fell by more than {FALL:.0%} or failed"
    )
    if options.keep:
        COMMITTED.write_text(json.dumps(dict(sorted((committed | found).items())), indent=1) + "\n")
    sys.exit(1 if fallen and not options.keep else 0)


if __name__ == "__main__":
    main()
