"""When the dashboard looks whether there are new results: at every page, or after a rest where reading takes long."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_RESULTS = ("rows/*.parquet", "studies/*.json", "splits/*.parquet")
_LONG_SECONDS = 2.0  # of reading: from here on it is not looked at once whether there is more,
_RESTS = 5  # but after so many times what reading took


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
    """The stamp of the results when they were last looked at, when that was, and for how long it will do."""

    stamp: tuple[int, int]
    at: float
    rest: float = 0.0


_LOOKS: dict[Path, _Look] = {}


def looked(root: Path) -> tuple[int, int]:
    """The stamp of the results; that of a store which takes long to read rests for some times as long.

    While a study writes into it, every reader would else begin anew with every fragment.
    """
    known, now = _LOOKS.get(root), time.monotonic()
    if known is None or now - known.at >= known.rest:
        known = _LOOKS[root] = _Look(stamp(root), now)
    return known.stamp


def note_reading(root: Path, seconds: float) -> None:
    """How long it took to read the results: what takes long is looked at less often."""
    if root in _LOOKS and seconds >= _LONG_SECONDS:
        _LOOKS[root].rest = max(_LOOKS[root].rest, _RESTS * seconds)
