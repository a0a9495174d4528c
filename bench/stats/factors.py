"""The label-saving factor as a statistic of two curves, in log2 labels: at a budget, at a target score, overall.

Curves are non-decreasing, [..., B] over knots [B] (log2 labels); leading dimensions are leave-one-out stacks and
simulations.
"""

from __future__ import annotations

import numpy as np

from bench.stats.arrays import FloatArray
from bench.stats.monotone import inverse

SCORES = 60


def factor_at_budget(
    entrant: FloatArray, entrant_knots: FloatArray, reference: FloatArray, reference_knots: FloatArray
) -> FloatArray:
    """c_r^-1(c_m(b)) - x_b at each of the entrant's budgets, [..., B]; infinite where censored."""
    return inverse(reference, reference_knots, entrant) - entrant_knots


def factor_overall(
    entrant: FloatArray, entrant_knots: FloatArray, reference: FloatArray, reference_knots: FloatArray
) -> FloatArray:
    """Mean of c_r^-1(y) - c_m^-1(y) over 60 equally spaced y that both curves reach, [...]; NaN where there is none."""
    low = np.maximum(entrant[..., 0], reference[..., 0])
    high = np.minimum(entrant[..., -1], reference[..., -1])
    levels = np.linspace(low, np.maximum(low, high), SCORES, axis=-1)
    needed = inverse(reference, reference_knots, levels) - inverse(entrant, entrant_knots, levels)
    return np.where(high > low, needed.mean(-1), np.nan)


def labels_needed(curve: FloatArray, knots: FloatArray, target: float) -> FloatArray:
    """Log2 labels at which a curve reaches the target level, [...]; +inf or -inf outside the measured budgets."""
    return inverse(curve, knots, np.full((*curve.shape[:-1], 1), target))[..., 0]
