"""The fault bench: `make faults`, or `python -m tests.faults [--ray] --seed 0 --faults 300 [--case NAME]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults import harmed, killed, moments, on_cluster, on_ray
from tests.faults.ground import Ground, Tally

Case = Callable[[Ground, Tally, int], None]

# name -> case, share of the faults
CASES: dict[str, tuple[Case, float]] = {
    "kill": (killed.at_moments, 3),
    "kill_in_write": (killed.around_operations, 4),
    "kill_trial_record": (killed.trial_records, 3),
    "terminate": (killed.terminated, 1.5),
    "two_at_once": (killed.at_once, 1),
    "clock": (killed.clock, 1),
    "harmed_fragment": (harmed.harmed("fragment"), 1.5),
    "harmed_checkpoint": (harmed.checkpoint, 1.5),
    "harmed_features": (harmed.harmed("features"), 1.5),
    "harmed_encoder": (harmed.harmed("encoder"), 1.5),
    "harmed_images": (harmed.harmed("images"), 1),
    "harmed_splits": (harmed.harmed("splits"), 0.7),
    "harmed_record": (harmed.harmed("record"), 0.7),
    "harmed_marker": (harmed.harmed("marker"), 0.7),
    "full_disk": (harmed.full_disk, 1.5),
    "not_a_number": (harmed.not_a_number, 0.4),
    "no_memory": (harmed.no_memory, 0.4),
}
RAY_CASES: dict[str, tuple[Case, float]] = {name: (case, 1) for name, case in (on_ray.CASES | on_cluster.CASES).items()}


def main(arguments: list[str] | None = None) -> int:
    """Runs the cases, prints the table, writes it as JSON; 1 where anything was lost, doubled or changed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", type=int, default=300, help="over all cases")
    parser.add_argument("--case", action="append", choices=[*CASES, *RAY_CASES], help="may be given more than once")
    parser.add_argument("--ray", action="store_true", help="the cases that need Ray, and clusters of it; no others")
    parser.add_argument("--json", type=Path, default=Path("build/faults.json"))
    asked = parser.parse_args(arguments)
    tallies = _run(asked)
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps([_plain(tally) for tally in tallies], indent=1) + "\n")
    print("\n".join(table(tallies)))
    return 0 if all(tally.passed for tally in tallies) else 1


def _run(asked: argparse.Namespace) -> list[Tally]:
    offered = RAY_CASES if asked.ray else CASES if asked.case is None else CASES | RAY_CASES
    chosen = {name: case for name, case in offered.items() if asked.case is None or name in asked.case}
    whole = sum(share for _, share in chosen.values())
    ground, tallies = Ground(asked.seed), []
    for name, (case, share) in chosen.items():
        tallies.append(_one(ground, name, case, max(1, round(asked.faults * share / whole))))
    ground.close()
    return tallies


def _one(ground: Ground, name: str, case: Case, faults: int) -> Tally:
    _ = moments.truth(ground) if name in RAY_CASES else ground.truth
    tally, began = Tally(name), time.perf_counter()
    try:
        case(ground, tally, faults)
    except (RuntimeError, TimeoutError) as error:  # a case that breaks counts as a loss, and the others go on
        tally.lost += 1
        tally.notes[f"broke: {str(error)[-1500:]}"] += 1
    tally.seconds = time.perf_counter() - began
    print(table([tally])[2], dict(tally.notes), file=sys.stderr, flush=True)
    return tally


def _plain(tally: Tally) -> dict[str, Any]:
    return {**vars(tally), "notes": dict(tally.notes)}


def table(tallies: list[Tally]) -> list[str]:
    """The lines of the table in Markdown."""
    lines = [
        "| case | runs | faults | rows | lost | duplicated | changed | steps re-executed | rows scored again | s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for tally in tallies:
        if tally.skipped:
            lines.append(f"| {tally.case} | not run: {tally.skipped} |")
            continue
        steps, scored = tally.steps - tally.steps_needed, tally.scored - tally.scored_needed
        lines.append(
            f"| {tally.case} | {tally.runs} | {tally.faults} | {tally.rows:,} | {tally.lost} | {tally.duplicated} | "
            f"{tally.different} | {steps:,} of {tally.steps_needed:,} | {scored:,} of {tally.scored_needed:,} | "
            f"{tally.seconds:.0f} |"
        )
    done = [tally for tally in tallies if not tally.skipped]
    lines.append(
        f"| **all** | {sum(t.runs for t in done)} | {sum(t.faults for t in done)} | {sum(t.rows for t in done):,} | "
        f"{sum(t.lost for t in done)} | {sum(t.duplicated for t in done)} | {sum(t.different for t in done)} | | | "
        f"{sum(t.seconds for t in done):.0f} |"
    )
    return lines
