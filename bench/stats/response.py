"""The response of the score to a scientific axis (mask ratio, noise level): curve, best settings, optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from bench.errors import UserError, unknown
from bench.stats.arrays import FloatArray
from bench.stats.curves import known, log_area, replicates
from bench.stats.inversion import zero_interval
from bench.stats.jackknife import Estimate, jackknife
from bench.stats.layout import Layout, layout
from bench.stats.multiplicity import holm
from bench.stats.stack import Stack, compare

RESPONSE = {
    "entrant": pl.String(),
    "value": pl.Float64(),
    "score": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "behind": pl.Float64(),
    "plausible": pl.Boolean(),
    "n_seeds": pl.Int64(),
    "n_draws": pl.Int64(),
    "coverage": pl.Float64(),
    "mark": pl.String(),
}
OPTIMUM = {
    "axis": pl.String(),
    "optimum": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "low_open": pl.Boolean(),
    "high_open": pl.Boolean(),
    "n_settings": pl.Int64(),
    "reason": pl.String(),
    "n_seeds": pl.Int64(),
    "n_draws": pl.Int64(),
    "coverage": pl.Float64(),
    "mark": pl.String(),
}
GRID = 257


def response(
    rows: pl.DataFrame,
    items: pl.DataFrame | None,
    *,
    axis: str,
    label_budget: str | None = None,
    metric: str = "balanced_accuracy",
    level: float = 0.95,
    arranged: Layout | None = None,
) -> pl.DataFrame:
    """Score of each setting along an axis, and which settings may be the best.

    Args:
        rows: as in `curves`, one entrant a setting, and a numeric column `axis` that is constant within an entrant.
        items, metric, level: as in `curves`.
        axis: name of the column.
        label_budget: the budget to look at; None takes the area under the curve over log labels, at the budgets all
            settings have.
        arranged: the layout of these rows and items, where it is there already.

    Returns:
        entrant, value (of the axis), score, low, high, behind (score short of the best setting's, at least 0),
        plausible (not significantly worse than any setting; Holm over its paired tests), n_seeds, n_draws, coverage,
        mark; ascending in value.
    """
    data = arranged or layout(rows, items, metric=metric)
    values = _axis_values(rows, axis, data)
    scores, stack = _scores(data, list(values), label_budget)
    estimate = jackknife(scores, stack.factors)
    low, high = estimate.interval(level)
    goodness = data.sign * scores
    plausible = _plausible(goodness, stack, 1 - level)
    records = [
        {"entrant": entrant, "value": value, "score": float(scores[0, at]), "low": known(float(low[at]))}
        | {
            "high": known(float(high[at])),
            "behind": float(goodness[0].max() - goodness[0, at]),
            "plausible": bool(plausible[at]),
        }
        | replicates(stack)
        for at, (entrant, value) in enumerate(values.items())
    ]
    return pl.DataFrame(records, schema=RESPONSE)


def optimum(
    rows: pl.DataFrame,
    items: pl.DataFrame | None,
    *,
    axis: str,
    label_budget: str | None = None,
    metric: str = "balanced_accuracy",
    level: float = 0.95,
    log: bool = False,
    arranged: Layout | None = None,
) -> pl.DataFrame:
    """Where along an axis the score is best: vertex of the least-squares parabola through all settings.

    The interval holds the values at which the parabola's slope is not significantly different from zero (crossed
    jackknife-t of the slope, which is linear in the scores), so an end that the data cannot bound is open rather than
    guessed.

    Args:
        rows, items, axis, label_budget, metric, level, arranged: as in `response`.
        log: fit over log2 of the axis.

    Returns:
        One row: axis, optimum (inside the measured range; null where the parabola has no maximum), low, high,
        low_open, high_open (the interval runs to or beyond the first or last setting), n_settings, reason (why the
        optimum is null), n_seeds, n_draws, coverage, mark.
    """
    data = arranged or layout(rows, items, metric=metric)
    values = _axis_values(rows, axis, data)
    at = np.array(list(values.values()))
    if len(np.unique(at)) < 3:
        raise UserError(f"axis {axis!r}: an optimum needs at least 3 values, got {len(np.unique(at))}")
    if log and at.min() <= 0:
        raise UserError(f"axis {axis!r}: value {at.min()} has no logarithm; use log=False")
    scores, stack = _scores(data, list(values), label_budget)
    found = _vertex(data.sign * scores, np.log2(at) if log else at, stack, level)
    ends = {key: 2.0**v if log and isinstance(v, float) else v for key, v in found.items()}
    return pl.DataFrame([{"axis": axis, "n_settings": len(at)} | ends | replicates(stack)], schema=OPTIMUM)


def _axis_values(rows: pl.DataFrame, axis: str, data: Layout) -> dict[str, float]:
    """Value of the axis of each entrant, ascending."""
    if axis not in rows.columns:
        raise unknown("column of the rows", axis, rows.columns, "axis")
    found = rows.filter(pl.col("entrant").is_in(list(data.scores))).select("entrant", axis).unique().drop_nulls()
    twice = found.filter(found["entrant"].is_duplicated())
    if len(twice):
        raise UserError(f"axis {axis!r}: entrant {twice['entrant'][0]!r} has several values")
    ordered = found.sort(axis, "entrant")
    return dict(zip(ordered["entrant"], ordered[axis].cast(pl.Float64), strict=True))


def _scores(data: Layout, entrants: list[str], label_budget: str | None) -> tuple[FloatArray, Stack]:
    """Leave-one-out scores [R, settings] at a budget, or areas over the budgets that all settings have."""
    shared = set.intersection(*(set(data.scores[entrant].budgets) for entrant in entrants)) if entrants else set()
    budgets = sorted(shared) if label_budget is None else [b for b in shared if b == label_budget]
    stack = compare(data, entrants, budgets=budgets) if budgets else None
    if stack is None:
        raise UserError(f"label_budget {label_budget!r}: no cell is common to all {len(entrants)} settings")
    areas = [log_area(stack.curves[entrant].values, stack.curves[entrant].labels) for entrant in entrants]
    return np.stack(areas, axis=1), stack


def _plausible(goodness: FloatArray, stack: Stack, alpha: float) -> list[bool]:
    """Whether no other setting is significantly better, [settings]."""
    estimate = jackknife(goodness[:, None, :] - goodness[:, :, None], stack.factors)  # [i, j]: j better than i
    p = np.where(np.isnan(estimate.variance) | (estimate.value <= 0), 1.0, estimate.p_value())
    others = ~np.eye(len(p), dtype=bool)
    return [bool((holm(row[other]) > alpha).all()) for row, other in zip(p, others, strict=True)]


def _vertex(goodness: FloatArray, at: FloatArray, stack: Stack, level: float) -> dict[str, Any]:
    """Optimum and the interval of zero slope, on the scale of the fit."""
    centre, width = at.mean(), np.ptp(at)
    coefficients = goodness @ np.linalg.pinv(np.vander((at - centre) / width, 3)).T  # [R, 3], highest power first
    grid = np.linspace(at.min(), at.max(), GRID)
    slopes = 2 * coefficients[:, :1] * (grid - centre) / width + coefficients[:, 1:2]
    found = dict(
        zip(("low", "high", "low_open", "high_open"), _ends(jackknife(slopes, stack.factors), grid, level), strict=True)
    )
    curvature, slope = coefficients[0, 0], coefficients[0, 1]
    if curvature >= 0:
        anywhere = {"low": float(grid[0]), "high": float(grid[-1]), "low_open": True, "high_open": True}
        return anywhere | {"optimum": None, "reason": "the response has no maximum inside: the parabola opens upward"}
    vertex = float(np.clip(centre - width * slope / (2 * curvature), at.min(), at.max()))
    return found | {"optimum": vertex}


def _ends(slope: Estimate, grid: FloatArray, level: float) -> tuple[float | None, float | None, bool, bool]:
    if not slope.terms:
        return None, None, True, True
    low, high = (float(end) for end in zero_interval(slope, grid, level))
    ends = max(low, float(grid[0])), min(high, float(grid[-1]))
    return *ends, bool(low <= grid[0]), bool(high >= grid[-1])
