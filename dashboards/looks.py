"""When the dashboard looks whether there are new results: at every page, or after a rest where answers take long."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_RESULTS = ("rows/*.parquet", "studies/*.json", "splits/*.parquet")
_LONG_SECONDS = 2.0  # of reading and computing: from here on it is not looked at once whether there is more,
_RESTS = 5  # but after so many times what they took,
_MOST_SECONDS = 60.0  # at the latest after this


def stamp(root: Path, patterns: Sequence[str] = _RESULTS) -> tuple[int, int]:
    """Changes whenever such a file is written: how many there are, and the newest time of change in nanoseconds."""
    times = []
    for pattern in patterns:
        for path in root.glob(pattern):
            try:
                times.append(path.stat().st_mtime_ns)
            except OSError:  # gone between the listing and the look: a compaction is at work
                continue
    return len(times), max(times, default=0)


@dataclass
class _Look:
    """The stamp of the results when they were last looked at, when that was, and what it cost since to show them."""

    stamp: tuple[int, int]
    at: float
    spent: float = 0.0

    @property
    def rest(self) -> float:
        """For how many seconds this look will do."""
        return min(_RESTS * self.spent, _MOST_SECONDS) if self.spent >= _LONG_SECONDS else 0.0


_LOOKS: dict[Path, _Look] = {}


def looked(root: Path) -> tuple[int, int]:
    """The stamp of the results; that of a store whose pages take long to compute rests for some times as long.

    While a study writes into it, every reader would else begin anew with every fragment.
    """
    known, now = _LOOKS.get(root), time.monotonic()
    if known is None or now - known.at >= known.rest:
        known = _LOOKS[root] = _Look(stamp(root), now)
    return known.stamp


def noted(answer: Callable[P, T]) -> Callable[P, T]:
    """Counts what a function of a results root costs towards the rest before that root is looked at again."""

    @functools.wraps(answer)
    def counted(*args: P.args, **kwargs: P.kwargs) -> T:
        begun = time.monotonic()
        try:
            return answer(*args, **kwargs)
        finally:
            note(args[0], time.monotonic() - begun)

    return counted


def note(root: Any, seconds: float) -> None:
    """What it cost to read or compute something of these results."""
    if root in _LOOKS:
        _LOOKS[root].spent += seconds
