"""An entrant of a leaderboard, as what takes it home needs to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Interval:
    """A score with the bounds of its interval; None where nothing was replicated."""

    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Contender:
    """One line of a leaderboard, and the rows at one label budget that it can be taken home from.

    Attributes:
        entrant: its name on the leaderboard.
        method: what was learned before labels.
        protocol: how it was judged.
        place: on the leaderboard, 1 is best.
        of: how many entrants are placed.
        metric: that places them.
        level: of the intervals.
        placed_by: the score of the leaderboard, over all label budgets or at one.
        over: which of the two, in words.
        label_budget: of the rows.
        at_budget: the entrant's score there, the mean over seeds and draws.
        row_keys: of the rows: one for each seed and draw.
        study: name of the study.
        data: its images, as the study file says.
        resources: that the study gave a pretraining.
    """

    entrant: str
    method: str
    protocol: str
    place: int
    of: int
    metric: str
    level: float
    placed_by: Interval
    over: str
    label_budget: str
    at_budget: Interval
    row_keys: tuple[str, ...]
    study: str
    data: Mapping[str, Any]
    resources: Mapping[str, Any]
