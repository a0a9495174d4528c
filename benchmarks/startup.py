"""How long the front doors take to open: `bench --help`, `bench plan`, and the modules of the dashboard.

    python benchmarks/startup.py            # 7 rounds
    python benchmarks/startup.py --quick    # at most 3 rounds

Every command runs in a process of its own, from start to exit, beside a process that imports only the libraries that
such a command cannot do without; the two take turns. The plan is that of the quick start on a results folder whose
images were read before. On a busy machine the processor seconds are the ones to compare with the aims.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pairs import compare, spent_on, take_turns, write

PAGES = sorted(
    f"dashboards.views.{path.stem}"
    for path in (Path(__file__).parents[1] / "dashboards" / "views").glob("*.py")
    if path.stem != "__init__"
)
PLAN = [sys.executable, "-m", "bench.cli", "plan", "--results"]


@dataclass(frozen=True)
class Door:
    """A command, the statement that imports its libraries alone, and the seconds it may take."""

    name: str
    command: list[str]
    libraries: str
    aim: float


def doors(results: Path) -> list[Door]:
    pages = f"import dashboards.frame, {', '.join(PAGES)}"
    return [
        Door("bench --help", [sys.executable, "-m", "bench.cli", "--help"], "import typer, typer.rich_utils", 0.5),
        Door("bench plan", [*PLAN, str(results)], "import numpy, polars, pydantic, typer, yaml, rich.table", 2.0),
        Door("dashboard import", [sys.executable, "-c", pages], "import streamlit, polars, plotly.graph_objects", 3.0),
    ]


def measure(door: Door, rounds: int) -> dict[str, object]:
    """The rounds of one door; one before the first fills the caches of the disk and is dropped."""
    bare = [sys.executable, "-c", door.libraries]
    spent_on(door.command)
    found = compare(door.name, take_turns(lambda: spent_on(door.command), lambda: spent_on(bare), rounds))
    seconds = {kind: float(np.median([one["ours"][kind] for one in found["rounds"]])) for kind in ("wall", "processor")}
    verdict = "met" if seconds["processor"] <= door.aim else "missed"
    print(f"    wall {seconds['wall']:.2f} s, processor {seconds['processor']:.2f} s; aim {door.aim:g} s: {verdict}")
    return {**found, **seconds, "aim": door.aim, "ratio": found["processor"][0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="at most 3 rounds")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that are timed")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*PLAN, folder], check=True, stdout=subprocess.DEVNULL)
        rounds = min(3, options.rounds) if options.quick else options.rounds
        found = [measure(door, rounds) for door in doors(Path(folder))]
    write(options.output, {"doors": found})


if __name__ == "__main__":
    main()
