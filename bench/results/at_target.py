"""Labels saved at a target score: read off where each entrant's curve crosses it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from bench.results.opening import Opened
from bench.results.returns import labels_to_target
from bench.results.scoring import NO_REFERENCE
from bench.stats.label_efficiency import OVERALL, labels_saved_at


def target_table(
    opened: Opened, *, target: float, metric: str, reference: Sequence[str], level: float = 0.95
) -> pl.DataFrame:
    """Labels needed and labels saved by each entrant at a target score.

    Args:
        target: a score of the metric.
        reference: entrants with a score to measure against; may be empty, then every factor is null.

    Returns:
        The columns of `bench.stats.label_efficiency.labels_saved_at`; labels, labels_low, labels_high and
        labels_censored as `bench.results.returns.labels_to_target` has them.
    """
    data = opened.layout(metric)
    needed = labels_to_target(data, None, target=target, metric=metric, level=level)
    needed = needed.rename({"censored": "labels_censored"})
    if not reference:
        found = needed.select("entrant", "mark")
        empty = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in OVERALL.items() if name not in found.columns]
        found = found.with_columns(empty).with_columns(pl.lit(NO_REFERENCE).alias("reason")).select(list(OVERALL))
    else:
        found = labels_saved_at(data, None, target=target, reference=reference, metric=metric, level=level)
    return found.join(needed.drop("mark"), on="entrant", how="left")
