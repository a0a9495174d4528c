"""Monotone curves over the log2 of the labels: isotonic regression, value and inverse, for whole stacks of curves."""

from __future__ import annotations

import numpy as np

from bench.stats.arrays import FloatArray, IntArray


def isotonic(values: FloatArray) -> FloatArray:
    """Least-squares non-decreasing fit along the last dimension, equal weights.

    The min-max formula, fit_j = max over i <= j of min over k >= j of mean(v_i..v_k), fits a stack of short curves at
    once.
    """
    n = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), values.cumsum(-1)], axis=-1)
    first, last = np.arange(n)[:, None], np.arange(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = (sums[..., None, 1:] - sums[..., :-1, None]) / (last - first + 1)  # mean of v_i..v_k at [i, k]
    means = np.where(last >= first, means, np.inf)
    tails = np.minimum.accumulate(means[..., ::-1], axis=-1)[..., ::-1]  # min over k >= j, at [i, j]
    return np.asarray(np.where(last >= first, tails, -np.inf).max(-2))


def value_at(curves: FloatArray, knots: FloatArray, at: FloatArray) -> FloatArray:
    """Curves at the given points: linear between the knots, the outer segments extended.

    Args:
        curves: [..., B].
        knots: [B], ascending; log2 labels.
        at: [..., K].

    Returns:
        [..., K].
    """
    if len(knots) == 1:
        return np.broadcast_to(curves, np.broadcast_shapes(curves.shape, at.shape)).copy()
    segment = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
    start, stop = _take(curves, segment), _take(curves, segment + 1)
    return start + (at - knots[segment]) / (knots[segment + 1] - knots[segment]) * (stop - start)


def inverse(curves: FloatArray, knots: FloatArray, levels: FloatArray) -> FloatArray:
    """Fewest log2 labels at which non-decreasing curves reach the levels.

    Args:
        curves: [..., B], non-decreasing.
        knots: [B], ascending; log2 labels.
        levels: [..., K].

    Returns:
        [..., K]; +inf above the last value, -inf below the first.
    """
    below = (curves[..., None, :] < levels[..., None]).sum(-1)  # knots whose value is below the level
    segment = np.clip(below, 1, max(len(knots) - 1, 1))
    start, stop = _take(curves, segment - 1), _take(curves, np.minimum(segment, len(knots) - 1))
    left, right = knots[segment - 1], knots[np.minimum(segment, len(knots) - 1)]
    with np.errstate(divide="ignore", invalid="ignore"):  # levels outside the curve, replaced below
        share = (levels - start) / (stop - start)
        inside = np.where(share >= 1, right, left + share * (right - left))
    reached = np.where(below == len(knots), np.inf, inside)
    return np.where(below == 0, np.where(levels == curves[..., :1], knots[0], -np.inf), reached)


def _take(curves: FloatArray, index: IntArray) -> FloatArray:
    shape = np.broadcast_shapes(curves.shape[:-1], index.shape[:-1])
    curves = np.broadcast_to(curves, (*shape, curves.shape[-1]))
    return np.take_along_axis(curves, np.broadcast_to(index, (*shape, index.shape[-1])), axis=-1)
