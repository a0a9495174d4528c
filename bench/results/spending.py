"""What an entrant cost: pretraining, search, hardware."""

from __future__ import annotations

import polars as pl


def spending(rows: pl.DataFrame) -> pl.DataFrame:
    """Costs per entrant; a pretraining is paid once, however many rows it serves.

    Args:
        rows: with the columns entrant, pretrain_key, pretrain_seconds, gpu_seconds, search_seconds, parameters.

    Returns:
        Frame [entrant, pretrain_seconds (mean of a seed), pretrain_seconds_total, search_seconds (once a setting),
        gpu_hours (all pretrainings), parameters].
    """
    paid = rows.group_by("entrant", "pretrain_key").agg(
        pl.col("pretrain_seconds").max(), pl.col("gpu_seconds").max(), pl.col("search_seconds").max()
    )
    costs = paid.group_by("entrant").agg(
        pl.col("pretrain_seconds").mean(),
        pl.col("pretrain_seconds").sum().alias("pretrain_seconds_total"),
        pl.col("search_seconds").max(),
        (pl.col("gpu_seconds").sum() / 3600.0).alias("gpu_hours"),
    )
    sizes = rows.group_by("entrant").agg(pl.col("parameters").max())
    return costs.join(sizes, on="entrant")
