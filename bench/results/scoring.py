"""The statistics of a leaderboard: score, rank and labels saved of each entrant, as columns to join."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl

from bench.stats.curves import area
from bench.stats.label_efficiency import OVERALL, labels_saved, labels_saved_at, labels_saved_overall
from bench.stats.layout import Layout
from bench.stats.ranking import ranks

NO_REFERENCE = "no reference entrant has rows yet"
_POINT = pl.Struct(dict.fromkeys(("n_labels", "score", "low", "high"), pl.Float64) | {"label_budget": pl.String()})
# The columns of a board on which nothing was scored.
UNSCORED: dict[str, pl.DataType] = {
    "score": pl.Float64(),
    "score_low": pl.Float64(),
    "score_high": pl.Float64(),
    "score_mark": pl.String(),
    "seeds": pl.Int64(),
    "draws": pl.Int64(),
    "place": pl.Int64(),
    "rank_low": pl.Int64(),
    "rank_high": pl.Int64(),
    "coverage": pl.Float64(),
    "budgets": pl.List(_POINT),
    "saved": pl.Float64(),
    "saved_low": pl.Float64(),
    "saved_high": pl.Float64(),
    "saved_censored": pl.String(),
    "saved_mark": pl.String(),
    "saved_reason": pl.String(),
}


def common_span(scored: pl.DataFrame) -> tuple[int, int] | None:
    """Fewest and most labels among the budgets that every entrant has; None where these are fewer than two."""
    entrants = scored["entrant"].n_unique()
    sizes = scored.group_by("label_budget").agg(pl.col("entrant").n_unique(), pl.col("n_labels").mean())
    common = sizes.filter(pl.col("entrant") == entrants)["n_labels"].sort()
    return (math.floor(common[0]), math.ceil(common[-1])) if len(common) > 1 else None


def budgets_within(scored: pl.DataFrame, span: tuple[int, int]) -> list[str]:
    """The label budgets whose number of labels lies in the span."""
    sizes = scored.group_by("label_budget").agg(pl.col("n_labels").mean())
    return sizes.filter(pl.col("n_labels").is_between(*span))["label_budget"].to_list()


def scores(data: Layout, inside: Layout, level: float) -> pl.DataFrame:
    """Score with interval, replicates and rank of each entrant; areas over the one range that `inside` holds."""
    areas = area(inside, None, metric=data.metric, level=level).select(
        "entrant",
        pl.col("area").alias("score"),
        pl.col("low").alias("score_low"),
        pl.col("high").alias("score_high"),
        pl.col("mark").alias("score_mark"),
        pl.col("n_seeds").alias("seeds"),
        pl.col("n_draws").alias("draws"),
    )
    tested = ranks(data, None, metric=data.metric, level=level).rename({"low": "rank_low", "high": "rank_high"})
    place = pl.col("score").rank("min", descending=True).cast(pl.Int64)
    lines = areas.join(tested.drop("score", "mark"), on="entrant", how="left").with_columns(place.alias("place"))
    # The tests run on the cells that all entrants have, the score on all of an entrant's: the interval holds both.
    return lines.select(
        *areas.columns,
        "place",
        pl.when(pl.col("rank_low").is_not_null()).then(pl.min_horizontal("rank_low", "place")).alias("rank_low"),
        pl.when(pl.col("rank_high").is_not_null()).then(pl.max_horizontal("rank_high", "place")).alias("rank_high"),
        "coverage",
    )


def points(curves: pl.DataFrame) -> pl.DataFrame:
    """The curve of each entrant as one list."""
    point = pl.struct("n_labels", "score", "low", "high", "label_budget")
    return curves.sort("n_labels").group_by("entrant").agg(point.alias("budgets"))


def saved(
    data: Layout, reference: Sequence[str], budget: str | None, level: float, target: float | None = None
) -> pl.DataFrame:
    """Label-saving factor of each entrant, overall, at one budget or at a target score; columns of the leaderboard."""
    if not reference:
        names = pl.DataFrame({"entrant": list(data.scores)})
        empty = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in OVERALL.items() if name != "entrant"]
        found = names.with_columns(empty).with_columns(pl.lit(NO_REFERENCE).alias("reason"))
    elif target is not None:
        found = labels_saved_at(data, None, target=target, reference=reference, metric=data.metric, level=level)
    elif budget is None:
        found = labels_saved_overall(data, None, reference=reference, metric=data.metric, level=level)
    else:
        table = labels_saved(data, None, reference=reference, metric=data.metric, level=level)
        found = table.filter(pl.col("label_budget") == budget)
    return found.select(
        "entrant",
        pl.col("factor").alias("saved"),
        pl.col("low").alias("saved_low"),
        pl.col("high").alias("saved_high"),
        pl.col("censored").alias("saved_censored"),
        pl.col("mark").alias("saved_mark"),
        pl.col("reason").alias("saved_reason"),
    )
