"""Scores that rows hold of their own test images without each block of them: a test term for metrics without a bitmap.

For mean IoU and the exact ratio of few-shot episodes, whose score is no mean over the items of the split table.
"""

from __future__ import annotations

import polars as pl

LEFT_OUT = "left_out"
KEY = "item_jackknife"  # in the JSON column `details`: {metric: [score without block 0, without block 1, ...]}


def with_left_out(rows: pl.DataFrame, metric: str) -> pl.DataFrame:
    """The rows with a column `left_out`, the list of their leave-one-out scores, where every measured one has it.

    As they are where a row that counts lacks them, where their numbers differ (other blocks), or where one is no
    number: a test term of some entrants alone would make their intervals look worse than those of the others.

    Args:
        rows: with the metric, and `details`, `status` where they have them.
        metric: name of the score.
    """
    if "details" not in rows.columns or rows["details"].dtype != pl.String or metric not in rows.columns:
        return rows
    text = pl.col("details").str.json_path_match(f"$.{KEY}.{metric}")
    found = rows.with_columns(text.str.json_decode(pl.List(pl.Float64)).alias(LEFT_OUT))
    counts = found.filter(pl.col("status") == "ok") if "status" in rows.columns else found
    measured = counts.filter(pl.col(metric).is_not_null())[LEFT_OUT]
    sizes = measured.list.len().unique().to_list()
    whole = len(sizes) == 1 and sizes[0] is not None and sizes[0] > 1
    return found if whole and measured.explode().is_finite().all(ignore_nulls=False) else rows
