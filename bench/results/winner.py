"""Who may be taken home: the entrants of a leaderboard, best first, with their rows at one label budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import UserError
from bench.results.budgets import budget_text
from bench.results.leaderboard import Board, budgets_of, make_board
from bench.results.opening import Opened, open_results
from bench.store.contender import Contender, Interval


def contenders(
    root: Path,
    *,
    study: str | None = None,
    metric: str | None = None,
    budget: str | None = None,
    key: str | None = None,
) -> list[Contender]:
    """The placed entrants of a study, best first.

    Args:
        root: results folder.
        study: name or key; None means the newest.
        metric: that places them; None means the study's first.
        budget: label budget that places them and of the rows; None: placed over all budgets, the rows of the largest.
        key: only what was measured on this pretraining.

    Raises:
        UserError: no results, no manifest, or an unknown study, metric or budget.
    """
    opened = open_results(root, study)
    if opened.study is None:
        raise UserError(f"--results {root}: no study file lies beside the rows, so their images are not known")
    board = make_board(opened, metric=metric, budget=budget)
    lines = board.ranked.to_dicts()
    found = [_contender(opened, board, line, len(lines), budget, key) for line in lines]
    return [contender for contender in found if contender is not None]


def _contender(
    opened: Opened, board: Board, line: dict[str, Any], of: int, budget: str | None, key: str | None
) -> Contender | None:
    rows = opened.scored(board.metric).filter(pl.col("entrant") == line["entrant"])
    if key is not None:
        rows = rows.filter(pl.col("pretrain_key") == key)
    if rows.is_empty() or opened.study is None:
        return None
    label_budget = budget or budgets_of(rows)[-1]
    rows = rows.filter(pl.col("label_budget") == label_budget)
    point = next((point for point in line["budgets"] if point["label_budget"] == label_budget), None)
    if rows.is_empty() or point is None:
        return None
    spec = opened.study.spec
    return Contender(
        entrant=line["entrant"],
        method=line["method"],
        protocol=line["protocol"],
        place=line["place"],
        of=of,
        metric=board.metric,
        level=board.level,
        placed_by=Interval(line["score"], line["score_low"], line["score_high"]),
        over=_over(budget, line["protocol"]),
        label_budget=label_budget,
        at_budget=Interval(point["score"], point["low"], point["high"]),
        row_keys=tuple(rows.sort("seed", "draw", nulls_last=False)["row_key"]),
        study=opened.study.name,
        data=dict(spec["data"]),
        resources=dict(spec.get("resources") or {}),
    )


def _over(budget: str | None, protocol: str) -> str:
    return "over all label budgets" if budget is None else f"at {budget_text(budget, [protocol])}"
