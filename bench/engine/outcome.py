"""How a task ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """What a task reports: the store holds the rest."""

    label: str
    status: str
    reason: str | None
    rows: int
    seconds: float
    details: str | None = None  # the traceback of a failure, for the log
