"""What the benchmarks share: two sides that take turns, their seconds, and the ratio with its interval."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import quantile_test


@dataclass(frozen=True)
class Spent:
    """Wall and processor seconds; the processor's count the children that ended."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Pair:
    """One round: what either side took."""

    ours: Spent
    theirs: Spent


def spent(call: Callable[[], object]) -> Spent:
    """Runs the call; processes that it starts and ends are counted too."""
    wall, processor = time.perf_counter(), _processor()
    call()
    return Spent(time.perf_counter() - wall, _processor() - processor)


def _processor() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def spent_on(command: Sequence[str]) -> Spent:
    """A process from start to exit.

    Raises:
        RuntimeError: it failed.
    """

    def run() -> None:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr[-2000:]}")

    return spent(run)


def take_turns(ours: Callable[[], Spent], theirs: Callable[[], Spent], rounds: int) -> list[Pair]:
    """Both sides in every round, the one that begins changing, so that a busy machine hurts both."""
    pairs = []
    for number in range(rounds):
        if number % 2:
            second = theirs()
            pairs.append(Pair(ours(), second))
        else:
            pairs.append(Pair(ours(), theirs()))
    return pairs


def median_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Median with the ends of its distribution-free 95 % interval, None where the values are too few for one."""
    interval = quantile_test(np.asarray(values)).confidence_interval(0.95)
    ends = (None if math.isnan(end) else float(end) for end in (interval.low, interval.high))
    return float(np.median(values)), *ends  # type: ignore[return-value]


def compare(name: str, pairs: Sequence[Pair], per: float = 1.0, unit: str = "s") -> dict[str, Any]:
    """Prints how many times as fast ours is, by wall and by processor time; returns what it prints, and the rounds.

    Args:
        name: of the line.
        pairs: the rounds.
        per: what a side's seconds are divided by where they are shown, e.g. steps.
        unit: of the result.
    """
    wall = median_interval([pair.theirs.wall / pair.ours.wall for pair in pairs])
    processor = median_interval([pair.theirs.processor / pair.ours.processor for pair in pairs])
    seconds = {
        side: float(np.median([getattr(pair, side).wall for pair in pairs])) / per for side in ("ours", "theirs")
    }
    print(f"{name:<34} {seconds['ours']:9.4f} {seconds['theirs']:9.4f} {unit}", end="  ")
    print(f"wall {spelled(wall)}, processor {spelled(processor)}, {len(pairs)} rounds", flush=True)
    rounds = [asdict(pair) for pair in pairs]
    return {"name": name, "seconds": seconds, "wall": wall, "processor": processor, "rounds": rounds}


def spelled(ratio: tuple[float, float | None, float | None]) -> str:
    """`1.52x (1.40 to 1.61)`; no interval where there is none."""
    middle, low, high = ratio
    return f"{middle:.2f}x" if low is None or high is None else f"{middle:.2f}x ({low:.2f} to {high:.2f})"


def write(output: Path | None, summary: dict[str, Any]) -> None:
    """Writes what was measured, with where and when, as JSON; nothing where no file is asked for."""
    if output is None:
        return
    about = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "python": sys.version.split()[0]}
    about["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({**about, **summary}, indent=1) + "\n")
