"""Intervals by test inversion: the values that the data do not contradict (docs/statistics.md, At a budget)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.stats.arrays import FloatArray
from bench.stats.jackknife import Estimate, Factor, jackknife
from bench.stats.monotone import value_at

POINTS_PER_SEGMENT = 16


def contrast_interval(
    level_at: FloatArray,
    labels_at: FloatArray,
    curves: FloatArray,
    knots: FloatArray,
    factors: Sequence[Factor],
    *,
    level: float,
) -> tuple[FloatArray, FloatArray]:
    """Interval of theta, where the reference needs 2^theta times the labels: y = c_r(x + theta).

    theta is in the interval when the contrast y - c_r(x + theta) is within t * sqrt(V) of zero, V and its degrees of
    freedom by the crossed jackknife of that contrast. The interval is unbounded above when the reference, at its most
    labels, is not significantly better, and below when it is not significantly worse at its fewest.

    Args:
        level_at: y, [R, ...]: the level to match, on the leave-one-out stack.
        labels_at: x, [R, ...]: log2 labels at which the entrant has this level.
        curves: [R, ..., B], the reference's non-decreasing curves.
        knots: [B], its log2 labels.
        factors: the factors of the stack.
        level: confidence level.

    Returns:
        low, high [...] in log2 labels, -inf and +inf where unbounded.
    """
    grid = _grid(knots)  # where theta puts the reference, for x on all data
    at = grid + (labels_at - labels_at[:1])[..., None]
    contrast = jackknife(level_at[..., None] - value_at(curves, knots, at), factors)
    low, high = zero_interval(contrast, grid, level)
    return low - labels_at[0], high - labels_at[0]


def zero_interval(contrast: Estimate, grid: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Hull of the grid points at which a contrast that falls along the grid is not significantly different from zero.

    Args:
        contrast: estimate [..., K] at the points of the grid.
        grid: [K], ascending.
        level: confidence level.

    Returns:
        low [...], -inf when the contrast is not above zero at the first point; high [...], +inf when not below it at
        the last.
    """
    margin = contrast.half_width(level)
    low = _first_not_above(contrast.value - margin, grid)
    high = -_first_not_above((-contrast.value - margin)[..., ::-1], -grid[::-1])
    return low, high


def _grid(knots: FloatArray) -> FloatArray:
    """The knots and points between them, [K]."""
    steps = np.linspace(0, 1, POINTS_PER_SEGMENT, endpoint=False)
    inner = knots[:-1, None] + np.diff(knots)[:, None] * steps
    return np.append(inner.ravel(), knots[-1])


def _first_not_above(excess: FloatArray, grid: FloatArray) -> FloatArray:
    """Where an excess [..., K] first falls to zero; -inf if it starts there, the end of the grid if never."""
    fallen = (excess <= 1e-12) | np.isnan(excess)  # NaN: a leave-one-out value is infinite, nothing can be excluded
    index = fallen.argmax(-1)
    at = np.minimum(np.maximum(index, 1), len(grid) - 1)[..., None]
    high, low = (np.take_along_axis(excess, k, axis=-1)[..., 0] for k in (at - 1, at))
    share = np.clip(high / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    crossing = grid[at[..., 0] - 1] + share * (grid[at[..., 0]] - grid[at[..., 0] - 1])
    return np.where(fallen.any(-1), np.where(index == 0, -np.inf, crossing), grid[-1])
