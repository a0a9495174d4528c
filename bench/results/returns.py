"""Return on labels: what it costs to reach a target score, at the reader's own prices for labels and compute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from bench.stats.curves import known
from bench.stats.factors import labels_needed
from bench.stats.inversion import zero_interval
from bench.stats.jackknife import jackknife
from bench.stats.label_efficiency import labels_saved_at
from bench.stats.layout import Layout, layout
from bench.stats.monotone import isotonic, value_at
from bench.stats.reference import scaled
from bench.stats.stack import compare

NEEDED = {
    "entrant": pl.String(),
    "labels": pl.Float64(),
    "labels_low": pl.Float64(),
    "labels_high": pl.Float64(),
    "censored": pl.String(),
    "mark": pl.String(),
}
RETURNS = NEEDED | {
    "is_reference": pl.Boolean(),
    "hours": pl.Float64(),
    "cost": pl.Float64(),
    "cost_low": pl.Float64(),
    "cost_high": pl.Float64(),
    "break_even": pl.Float64(),
    "break_even_low": pl.Float64(),
    "break_even_high": pl.Float64(),
    "break_even_censored": pl.String(),
    "break_even_reason": pl.String(),
}
_POINTS = 24  # of the grid on which an interval is sought, between two budgets


@dataclass(frozen=True)
class Prices:
    """What the reader pays, in any one currency: for a label, and for an hour of compute."""

    label: float
    hour: float


def labels_to_target(
    scored: pl.DataFrame | Layout, items: pl.DataFrame | None, *, target: float, metric: str, level: float = 0.95
) -> pl.DataFrame:
    """How many labels each entrant needs to reach a target score.

    The interval holds the numbers of labels at which the entrant's curve is not significantly different from the
    target (crossed jackknife-t of the difference), within the labels that were measured.

    Returns:
        entrant, labels, labels_low (0: open), labels_high (infinite: open), censored (">=": not reached with the most
        labels measured, which `labels` then is; "<=": reached with the fewest), mark. Entrants without a complete seed
        and draw are left out.
    """
    data = layout(scored, items, metric=metric)
    wanted = float(scaled(data, np.array(target)))
    records = [_needed(data, entrant, wanted, level) for entrant in sorted(data.scores)]
    return pl.DataFrame([record for record in records if record], schema=NEEDED)


def returns(
    scored: pl.DataFrame,
    items: pl.DataFrame | None,
    *,
    target: float,
    prices: Prices,
    reference: Sequence[str],
    metric: str,
    level: float = 0.95,
    arranged: Layout | None = None,
) -> pl.DataFrame:
    """Total cost to reach a target score, and from which price of a label on a pretraining pays for itself.

    Args:
        scored: rows of finished units, with `entrant`, pretrain_seconds, search_seconds, gpu_seconds.
        items, metric, level: as in `bench.stats.curves.curves`.
        target: a score.
        prices: what is paid for a label and an hour.
        reference: entrants to break even against; may be empty.
        arranged: these rows arranged already.

    Returns:
        The columns of `labels_to_target`; is_reference; hours (pretraining of one seed and search, times GPUs where it
        ran on any); cost, cost_low, cost_high; break_even (price of a label from which the extra hours are worth it),
        break_even_low, break_even_high (infinite: not shown), break_even_censored ("<=": the reference never gets
        there), break_even_reason (why it is null). The cheapest first;
        those that do not reach the target last.
    """
    data = arranged or layout(scored, items, metric=metric)
    table = labels_to_target(data, None, target=target, metric=metric, level=level)
    spent = dict(compute_hours(scored).iter_rows())
    factors: dict[str, dict[str, Any]] = {}
    if reference:
        saved = labels_saved_at(data, None, target=target, reference=reference, metric=metric, level=level)
        factors = {row["entrant"]: row for row in saved.iter_rows(named=True)}
    cheapest = min((spent.get(name, 0.0) for name in reference), default=0.0)
    records = []
    for row in table.iter_rows(named=True):
        name, hours = row["entrant"], spent.get(row["entrant"], 0.0)
        paid = {key: _times(row[end], prices.label, hours * prices.hour) for key, end in _ENDS.items()}
        extra = (hours - cheapest) * prices.hour
        records.append(
            row
            | {"is_reference": name in reference, "hours": hours}
            | paid
            | (_even(row, factors.get(name), extra) if name not in reference else {})
        )
    frame = pl.DataFrame(records, schema=RETURNS)
    return frame.sort(pl.col("censored") == ">=", "cost", "entrant")


def compute_hours(rows: pl.DataFrame) -> pl.DataFrame:
    """[entrant, hours] of one seed's pretraining and of the search, times the GPUs it ran on; mean over seeds."""
    pretraining, gpu = pl.col("pretrain_seconds").fill_null(0.0), pl.col("gpu_seconds").fill_null(0.0)
    devices = pl.when((gpu > 0) & (pretraining > 0)).then(gpu / pretraining).otherwise(1.0)
    total = (pretraining + pl.col("search_seconds").fill_null(0.0)) * devices
    by_seed = rows.group_by("entrant", "seed").agg(total.max().alias("seconds"))
    return by_seed.group_by("entrant").agg((pl.col("seconds").mean() / 3600.0).alias("hours")).sort("entrant")


_ENDS = {"cost": "labels", "cost_low": "labels_low", "cost_high": "labels_high"}


def _needed(data: Layout, entrant: str, wanted: float, level: float) -> dict[str, Any] | None:
    stack = compare(data, [entrant])
    if stack is None:
        return None
    curve = stack.curves[entrant]
    keep = np.append(np.diff(curve.labels) > 0, True)
    knots, values = np.log2(curve.labels[keep]), isotonic(scaled(data, curve.values[:, keep]))
    at = float(labels_needed(values[:1], knots, wanted)[0])
    shown = float(np.clip(at, knots[0], knots[-1]))
    record: dict[str, Any] = {"entrant": entrant, "labels": 2.0**shown, "mark": stack.mark}
    record["censored"] = "" if math.isfinite(at) else ">=" if at > 0 else "<="
    if not stack.factors or len(knots) < 2:
        return record
    grid = np.linspace(knots[0], knots[-1], _POINTS * (len(knots) - 1) + 1)
    below = jackknife(wanted - value_at(values, knots, np.broadcast_to(grid, (len(values), len(grid)))), stack.factors)
    low, high = (float(end) for end in zero_interval(below, grid, level))
    low, high = min(low, at), max(high, at)
    return record | {"labels_low": known(2.0**low), "labels_high": known(2.0**high)}


def _even(row: Mapping[str, Any], factor: Mapping[str, Any] | None, extra: float) -> dict[str, Any]:
    """The price of a label at which the labels saved pay for the extra compute, carried over from the factor."""
    if row["censored"] == ">=":
        return {"break_even_reason": "does not reach the target"}
    if factor is None or factor["factor"] is None:
        return {"break_even_reason": (factor or {}).get("reason") or "no reference entrant has rows"}
    if factor["factor"] <= 1.0:
        return {"break_even_reason": "saves no labels at this target"}
    if extra <= 0:
        return {"break_even_reason": "costs no more compute than the reference"}
    return {
        "break_even_censored": "<=" if factor["censored"] == ">=" else "",
        "break_even": _price(extra, row["labels"], factor["factor"]),
        "break_even_low": _price(extra, row["labels"], factor["high"]),
        "break_even_high": _price(extra, row["labels"], factor["low"]),
    }


def _price(extra: float, labels: float, factor: float | None) -> float | None:
    if factor is None:
        return None
    return extra / (labels * (factor - 1.0)) if factor > 1.0 else math.inf


def _times(labels: float | None, price: float, compute: float) -> float | None:
    if labels is None:
        return None
    return labels * price + compute if price > 0 else compute
