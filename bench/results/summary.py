"""The finding of a leaderboard in words: what the best entrant saves, against whom, at what cost, with which caveat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from bench.results.budgets import budget_text
from bench.results.entrants import LABEL_ONLY
from bench.results.leaderboard import Board
from bench.results.text import (
    MARKS,
    factor_text,
    interval_text,
    list_text,
    metric_text,
    score_text,
    seconds_text,
)

_MOST_REFERENCES = 3  # more entrants than these are called by the names in the study


@dataclass(frozen=True)
class Finding:
    """One sentence in parts: the claim, its interval, against whom, to what end, the cost, what to hold against it."""

    claim: str
    interval: str = ""
    against: str = ""
    goal: str = ""
    cost: str = ""
    caveat: str = ""

    @property
    def sentence(self) -> str:
        """The parts as running text."""
        text = self.claim
        if self.interval:
            text += f" ({self.interval})"
        if self.against:
            text += f" than {self.against}"
        if self.goal:
            text += f" to reach {self.goal}"
        if self.cost:
            text += f", and costs {self.cost}"
        return f"{text}.{' ' + self.caveat if self.caveat else ''}"


def finding(board: Board, *, times: str = "x") -> Finding:
    """What the board says, about the best entrant that was pretrained."""
    pretrained = ~(pl.col("is_reference") | pl.col("method").is_in(LABEL_ONLY))
    rivals = board.ranked.filter(pretrained)
    if rivals.is_empty():
        return _nothing(board)
    best = rivals.row(0, named=True)
    where = f"At {budget_text(board.budget, board.protocols)}, " if board.budget else ""
    if best["saved"] is None:
        score = score_text(best["score"], best["score_low"], best["score_high"], best["score_mark"])
        first = best["entrant"] == board.ranked.row(0, named=True)["entrant"]
        place = "leads" if first else "is the best pretrained entrant,"
        claim = f"{where}{best['entrant']} {place} with {metric_text(board.metric)} {score}"
        return Finding(claim, caveat=_undefined(board, best))
    claim = f"{where}{best['entrant']} {_needs(best, times)}"
    return Finding(
        claim, _interval(board, best), reference_text(board), goal_text(board), _cost(best), _caveat(board, best)
    )


def reference_text(board: Board) -> str:
    """`pixels + linear`, `the better of A and B`, or `the best of A, B and C`."""
    names = board.reference
    if len(names) > _MOST_REFERENCES:  # one of each setting and layer: the study's own words are shorter
        names = tuple(" + ".join(part.strip() for part in name.split("+")) for name in board.reference_names)
    if len(names) < 2:
        return f"the best {names[0]}" if len(board.reference) > 1 else "".join(names)
    return f"the {'better' if len(board.reference) == 2 else 'best'} of {list_text(names)}"


def goal_text(board: Board) -> str:
    """`balanced accuracy 0.8`, where labels saved is taken at a target score; else empty."""
    return "" if board.target is None else f"{metric_text(board.metric)} {board.target:g}"


def _nothing(board: Board) -> Finding:
    if board.ranked.is_empty():
        return Finding("No entrant has a score yet", caveat="Every finished unit failed; the status says why.")
    leader = board.ranked.row(0, named=True)
    score = score_text(leader["score"], leader["score_low"], leader["score_high"], leader["score_mark"])
    claim = f"{leader['entrant']} leads the label-only entrants with {metric_text(board.metric)} {score}"
    return Finding(claim, caveat="No pretrained entrant has a score yet.")


def _undefined(board: Board, best: Mapping[str, Any]) -> str:
    at = f" at {goal_text(board)}" if board.target is not None else ""
    return f"Labels saved{at} is undefined: {best['saved_reason'] or 'not measured here'}."


def _needs(best: Mapping[str, Any], times: str) -> str:
    factor, censored = best["saved"], best["saved_censored"] or ""
    if includes_one(best):
        return f"is not shown to save labels: it needs {_amount(factor, times)}"
    bound = {">=": "at least ", "<=": "at most "}.get(censored, "")
    return f"needs {bound}{_amount(factor, times, bool(censored))}"


def includes_one(best: Mapping[str, Any]) -> bool:
    """Whether the interval of labels saved leaves open which of the two needs fewer."""
    low, high = best["saved_low"], best["saved_high"]
    return low is not None and high is not None and low <= 1.0 <= high


def _amount(factor: float, times: str, censored: bool = False) -> str:
    if factor >= 1.0 or censored:
        return f"{factor_text(factor, times=times)} fewer labels"
    return f"{factor_text(1 / factor, times=times)} more labels"


def _interval(board: Board, best: Mapping[str, Any]) -> str:
    low, high = best["saved_low"], best["saved_high"]
    if best["saved"] < 1.0 and not best["saved_censored"]:
        low, high = _inverse(high), _inverse(low)
    known = best["saved_low"] is not None and best["saved_high"] is not None
    interval = interval_text(low, high) or ("open at both ends" if known else "")
    return f"{board.level * 100:g} %: {interval}" if interval else ""


def _inverse(value: float | None) -> float | None:
    if value is None or value == 0.0:
        return None
    return 1.0 / value


def _cost(best: Mapping[str, Any]) -> str:
    parts = []
    if best["pretrain_seconds"]:
        parts.append(f"{seconds_text(best['pretrain_seconds'])} of pretraining{' a seed' if best['seeds'] else ''}")
    if best["search_seconds"]:
        parts.append(f"{seconds_text(best['search_seconds'])} of search")
    return " and ".join(parts)


def _caveat(board: Board, best: Mapping[str, Any]) -> str:
    notes = []
    low, high = best["saved_low"], best["saved_high"]
    if low is None or high is None:
        notes.append("Without replicates it has no interval.")
    elif includes_one(best):
        notes.append("The interval includes 1.")
    mark = best["saved_mark"] or ""
    notes += [f"{meaning[0].upper()}{meaning[1:]}." for name, (_, meaning) in MARKS.items() if name in mark.split(", ")]
    leader = board.ranked.row(0, named=True)
    if leader["is_reference"]:
        notes.insert(0, f"{leader['entrant']}, which uses no pretraining, leads the board.")
    if board.present < board.promised:
        notes.append(f"{board.present:,} of {board.promised:,} rows are there: it may still change.")
    return " ".join(notes)
