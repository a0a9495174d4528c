"""How long a plan will take, from what the store has measured: nothing is guessed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.store.fragments import Fragments
from bench.study.plan import Plan


@dataclass(frozen=True)
class Estimate:
    """Seconds of one worker that a plan still needs, and the methods of which nothing was measured yet."""

    seconds: float
    unknown: tuple[str, ...]


def estimate(plan: Plan, root: Path, present: set[str]) -> Estimate:
    """Sums mean measured seconds of trials and pretrainings, by method, over what the plan still lacks."""
    measured = _measured(root)
    seconds, unknown = 0.0, []
    for item in plan.settings:
        runs = sum(1 for pretraining in item.pretrainings if pretraining.missing(present))
        if item.search is not None and item.search.missing:
            runs += len(item.search.missing) + (plan.study.seeds if item.setting.options.seeded else 1)
        if not runs:
            continue
        if item.setting.method in measured:
            seconds += runs * measured[item.setting.method]
        elif item.setting.method not in unknown:
            unknown.append(item.setting.method)
    return Estimate(seconds, tuple(unknown))


def _measured(root: Path) -> dict[str, float]:
    """Mean wall seconds of one pretraining with its evaluation, by method."""
    spent = (pl.col("pretrain_seconds").max().fill_null(0.0), pl.col("evaluate_seconds").sum())
    total = (pl.col("pretrain_seconds") + pl.col("evaluate_seconds")).mean().alias("seconds")

    def mean_of_each(rows: pl.LazyFrame) -> pl.LazyFrame:
        each = rows.filter(pl.col("status") == "ok").group_by("method", "pretrain_key").agg(*spent)
        return each.group_by("method").agg(total)

    return dict(Fragments(root, "rows").read(mean_of_each).iter_rows())
