"""Labels against compute: who is not beaten on labels, cost and score at once, and what an hour is worth in labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from bench.errors import unknown
from bench.stats.arrays import BoolArray, FloatArray
from bench.stats.curves import curves
from bench.stats.label_efficiency import labels_saved
from bench.stats.layout import LOWER_IS_BETTER

COST = ("pretrain_seconds", "search_seconds")


def pareto(
    rows: pl.DataFrame,
    items: pl.DataFrame | None,
    *,
    metric: str = "balanced_accuracy",
    cost: Sequence[str] = COST,
    level: float = 0.95,
) -> pl.DataFrame:
    """The front of labels x cost x score.

    Args:
        rows, items, metric, level: as in `curves`; rows carry the cost columns, in seconds, null counting as zero.
        cost: the columns to add up: any of pretrain_seconds, gpu_seconds, search_seconds, ...

    Returns:
        The columns of `curves`, hours (mean over seeds of the summed cost) and on_front: no other entrant and budget
        has at most the labels, at most the hours and at least the score, and one of them better. Decided on point
        estimates.
    """
    points = curves(rows, items, metric=metric, level=level).join(hours(rows, cost), on="entrant", how="left")
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    spent = np.stack(
        [points["n_labels"].to_numpy(), points["hours"].to_numpy(), -sign * points["score"].to_numpy()], axis=1
    )
    return points.with_columns(on_front=pl.Series(~_dominated(spent)))


def labels_per_hour(
    rows: pl.DataFrame,
    items: pl.DataFrame | None,
    *,
    reference: Sequence[str],
    metric: str = "balanced_accuracy",
    cost: Sequence[str] = COST,
    level: float = 0.95,
) -> pl.DataFrame:
    """What one hour of pretraining is worth: labels saved at each budget per hour spent beyond the reference's.

    Returns:
        entrant, label_budget, n_labels, extra_hours (beyond the cheapest chosen reference), saved (labels, n_labels *
        (factor - 1)), labels_per_hour, low, high (the interval of the factor carried over), censored, reference,
        reason (also when no extra hour was spent), mark.
    """
    saved = labels_saved(rows, items, reference=reference, metric=metric, level=level)
    spent = dict(hours(rows, cost).iter_rows())
    cheapest = [min(spent[name] for name in names.split(", ")) for names in saved["reference"]]
    extra = pl.Series(
        saved["entrant"].replace_strict(spent, return_dtype=pl.Float64) - pl.Series(cheapest, dtype=pl.Float64)
    )
    rate = pl.col("n_labels") / pl.col("extra_hours")
    return (
        saved.with_columns(extra_hours=extra)
        .with_columns(saved=pl.col("n_labels") * (pl.col("factor") - 1), paid=pl.col("extra_hours") > 0)
        .with_columns(
            pl.when("paid").then((pl.col("factor") - 1) * rate).alias("labels_per_hour"),
            *(pl.when("paid").then((pl.col(end) - 1) * rate).alias(end) for end in ("low", "high")),
            pl.coalesce("reason", pl.when(~pl.col("paid")).then(pl.lit("costs no more than the reference"))),
        )
        .select(
            "entrant", "label_budget", "n_labels", "extra_hours", "saved", "labels_per_hour", "low", "high",
            "censored", "reference", "reason", "mark",
        )
    )  # fmt: skip


def hours(rows: pl.DataFrame, cost: Sequence[str] = COST) -> pl.DataFrame:
    """Hours each entrant costs: the summed columns of a pretraining (the same in all its rows), mean over seeds;
    entrant, hours.

    Raises:
        UserError: a cost column is missing.
    """
    for column in cost:
        if column not in rows.columns:
            raise unknown("column of the rows", column, rows.columns, "cost")
    total = pl.sum_horizontal(pl.col(column).fill_null(0.0) for column in cost)
    by_seed = rows.group_by("entrant", "seed").agg(total.max().alias("seconds"))
    return by_seed.group_by("entrant").agg(hours=pl.col("seconds").sort().mean() / 3600).sort("entrant")


def _dominated(spent: FloatArray) -> BoolArray:
    """Whether some point [n, 3] is no worse on every count and better on one; less is better."""
    no_worse = (spent[None] <= spent[:, None]).all(-1)
    better = np.logical_or.reduce(spent[None] < spent[:, None], axis=-1)
    return np.asarray(np.logical_or.reduce(no_worse & better, axis=1))
