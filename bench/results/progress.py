"""How far a running study is: the small files that an engine leaves under `<root>/progress/`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.results.text import seconds_text
from bench.store.files import read_json

NEWS_SECONDS = 120.0  # without news for longer, the line says for how long
FORGOTTEN_SECONDS = 86_400.0  # a run that wrote nothing for a day is not shown: it was killed


@dataclass(frozen=True)
class Progress:
    """One running study: trials of its searches and pretrainings done of those known, what failed, time left."""

    study: str
    done: int
    total: int
    trials_done: int
    trials: int
    failed: int
    rows: int
    seconds_left: float | None
    best: str
    silent: float  # seconds since the last news

    @property
    def fraction(self) -> float:
        """Share of trials and pretrainings that are done, in [0, 1]."""
        steps = self.total + self.trials
        return min(max((self.done + self.trials_done) / steps, 0.0), 1.0) if steps > 0 else 0.0

    @property
    def news(self) -> str:
        """What the counts do not tell: the study, the best entrant so far, for how long nothing was heard."""
        parts = [self.study]
        if self.best:
            parts.append(f"best so far {self.best}")
        if self.silent > NEWS_SECONDS:
            parts.append(f"last news {seconds_text(self.silent)} ago")
        return " · ".join(parts)

    @property
    def line(self) -> str:
        """One line for people."""
        parts = [f"search {self.trials_done:,} of {self.trials:,} trials"] if self.trials else []
        parts.append(f"{self.done:,} of {self.total:,} pretrainings")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        if self.rows:
            parts.append(f"{self.rows:,} new rows")
        if self.seconds_left:
            parts.append(f"about {seconds_text(self.seconds_left)} left")
        if self.best:
            parts.append(f"best so far {self.best}")
        if self.silent > NEWS_SECONDS:
            parts.append(f"last news {seconds_text(self.silent)} ago")
        return " · ".join(parts)


def running(root: Path, now: float | None = None) -> list[Progress]:
    """Studies whose progress file `<root>/progress/*.json` says that they run; unreadable files are left out."""
    now = time.time() if now is None else now
    values = (read_json(path) for path in sorted((Path(root) / "progress").glob("*.json")))
    found = [_progress(value, now) for value in values if isinstance(value, dict) and _runs(value)]
    return [item for item in found if item.silent < FORGOTTEN_SECONDS]


def _runs(value: Mapping[str, Any]) -> bool:
    return bool(value.get("state", "running") == "running")


def _progress(value: Mapping[str, Any], now: float) -> Progress:
    def number(key: str) -> float:
        item = value.get(key)
        return float(item) if isinstance(item, int | float) else 0.0

    return Progress(
        study=str(value.get("study", "")),
        done=int(number("done")),
        total=int(number("total")),
        trials_done=int(number("trials_done")),
        trials=int(number("trials")),
        failed=int(number("failed")),
        rows=int(number("rows")),
        seconds_left=number("seconds_left") or None,
        best=str(value.get("best") or ""),
        silent=max(now - number("updated"), 0.0),
    )
