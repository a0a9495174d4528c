"""Holm's correction for several tests."""

from __future__ import annotations

import numpy as np

from bench.stats.arrays import FloatArray


def holm(p: FloatArray) -> FloatArray:
    """Holm-adjusted p-values [n], in the order given: rejecting those up to alpha bounds the familywise error by it."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def holm_levels(p: FloatArray, alpha: float) -> FloatArray:
    """Significance level [n] at which Holm judges each test.

    The k-th smallest of n is judged at alpha / (n - k + 1) until one fails; that level then serves all the rest, so an
    interval at 1 - level excludes its null exactly when Holm rejects it.
    """
    order = np.argsort(p, kind="stable")
    steps = alpha / (len(p) - np.arange(len(p)))
    failed = np.flatnonzero(p[order] > steps)
    if len(failed):
        steps[failed[0] :] = steps[failed[0]]
    levels = np.empty_like(p)
    levels[order] = steps
    return levels
