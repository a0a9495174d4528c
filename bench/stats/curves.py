"""Scores over label budgets: the curve of each entrant and the area under it, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from bench.stats.arrays import FloatArray
from bench.stats.jackknife import jackknife
from bench.stats.layout import Layout, layout
from bench.stats.stack import IntervalForm, Stack, compare

CURVES = {
    "entrant": pl.String(),
    "label_budget": pl.String(),
    "n_labels": pl.Int64(),
    "score": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n_seeds": pl.Int64(),
    "n_draws": pl.Int64(),
    "coverage": pl.Float64(),
    "mark": pl.String(),
}
AREA = {
    "entrant": pl.String(),
    "area": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "first_labels": pl.Int64(),
    "last_labels": pl.Int64(),
    "n_seeds": pl.Int64(),
    "n_draws": pl.Int64(),
    "coverage": pl.Float64(),
    "mark": pl.String(),
}


def curves(
    rows: pl.DataFrame | Layout,
    items: pl.DataFrame | None,
    *,
    metric: str = "balanced_accuracy",
    level: float = 0.95,
    form: IntervalForm = "jackknife",
) -> pl.DataFrame:
    """Mean score of each entrant at each of its label budgets, with its crossed jackknife-t interval.

    Args:
        rows: entrant, seed, draw, label_budget, n_labels and the metric or `correct` with n_test (see `layout`), or
            the layout made from them.
        items: the test items: item, label, group.
        metric: "accuracy", "balanced_accuracy" or a numeric column.
        level: confidence level of the interval.
        form: "jackknife", or "anova": the seed-by-draw interaction counted once.

    Returns:
        entrant, label_budget, n_labels (all labels read, selection included), score, low, high (null where nothing was
        replicated), n_seeds (0: seedless), n_draws, coverage (share of the measured cells that are in a complete seeds
        x draws), mark: "" or any of "one seed", "few seeds" (under 5), "one draw", "this test set only" (no test-item
        term), joined by commas.
    """
    data = layout(rows, items, metric=metric)
    records = []
    for entrant, scores in sorted(data.scores.items()):
        for budget in scores.budgets:
            stack = compare(data, [entrant], budgets=[budget], form=form)
            assert stack is not None  # one budget that was measured has a complete cell  # nosec B101 # for mypy
            curve = stack.curves[entrant]
            head = {"entrant": entrant, "label_budget": budget, "n_labels": round(curve.labels[0])}
            records.append(head | _score(curve.values[:, 0], "score", data, stack, level))
    return pl.DataFrame(records, schema=CURVES)


def area(
    rows: pl.DataFrame | Layout,
    items: pl.DataFrame | None,
    *,
    metric: str = "balanced_accuracy",
    level: float = 0.95,
    form: IntervalForm = "jackknife",
) -> pl.DataFrame:
    """Area under each entrant's curve over log labels, divided by the width: a mean in which doublings count alike.

    The area runs over the entrant's own budgets, first_labels to last_labels: compare areas over one range only.
    Arguments as in `curves`. An entrant without a seed x draw complete for all its budgets has a null area.

    Returns:
        entrant, area, low, high, first_labels, last_labels, n_seeds, n_draws, coverage, mark.
    """
    data = layout(rows, items, metric=metric)
    records: list[dict[str, Any]] = []
    for entrant, scores in sorted(data.scores.items()):
        stack = compare(data, [entrant], form=form)
        first, last = round(scores.labels[0]), round(scores.labels[-1])
        head = {"entrant": entrant, "first_labels": first, "last_labels": last}
        if stack is None:
            records.append(head | {"n_seeds": 0, "n_draws": 0, "coverage": 0.0, "mark": "nothing complete"})
            continue
        values = log_area(stack.curves[entrant].values, scores.labels)
        records.append(head | _score(values, "area", data, stack, level))
    return pl.DataFrame(records, schema=AREA)


def log_area(values: FloatArray, labels: FloatArray) -> FloatArray:
    """Trapezoid area of curves [..., B] over log2 of labels [B], divided by the width; at one budget the score."""
    if len(labels) == 1:
        return values[..., 0]
    x = np.log2(labels)
    return np.asarray(np.trapezoid(values, x, axis=-1) / (x[-1] - x[0]))


def _score(values: FloatArray, name: str, data: Layout, stack: Stack, level: float) -> dict[str, Any]:
    estimate = jackknife(values, stack.factors)
    low, high = (known(float(end)) for end in estimate.interval(level))
    if data.bounded and low is not None and high is not None:
        low, high = max(low, 0.0), min(high, 1.0)
    return {name: float(estimate.value), "low": low, "high": high} | replicates(stack)


def replicates(stack: Stack) -> dict[str, Any]:
    """The columns that say what stands behind an interval; n_seeds is the fewest seeds of a seeded entrant."""
    seeded = [n for n in stack.n_seeds.values() if n > 0]
    n_seeds = min(seeded, default=0)
    return {"n_seeds": n_seeds, "n_draws": stack.n_draws, "coverage": stack.coverage, "mark": stack.mark}


def known(value: float) -> float | None:
    """None for NaN: a null in the frame."""
    return None if np.isnan(value) else value
