"""Scores pooled over held-out parts of the data, each part one unit: confusion matrices added, parts left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bench.errors import UserError, unknown
from bench.stats.arrays import FloatArray
from bench.stats.jackknife import Estimate, Factor, jackknife


def miou(confusion: FloatArray) -> FloatArray:
    """Mean intersection over union [...] of confusion matrices [..., K, K], over the classes of the truth."""
    true, predicted, right = _sums(confusion)
    return _mean(np.divide(right, true + predicted - right, out=np.zeros_like(right), where=true > 0), true > 0)


def pixel_accuracy(confusion: FloatArray) -> FloatArray:
    """Share of the pixels [...] on the diagonal of confusion matrices [..., K, K]."""
    return np.asarray(_sums(confusion)[2].sum(-1) / confusion.sum((-2, -1)))


def macro_f1(confusion: FloatArray) -> FloatArray:
    """Mean F1 [...] of confusion matrices [..., K, K], over the classes of the truth."""
    true, predicted, right = _sums(confusion)
    return _mean(np.divide(2 * right, true + predicted, out=np.zeros_like(right), where=true > 0), true > 0)


MEASURES: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "miou": miou,
    "pixel_accuracy": pixel_accuracy,
    "macro_f1": macro_f1,
}


def pooled(confusion: FloatArray, measure: str, against: FloatArray | None = None) -> Estimate:
    """A score of all parts together, or a difference of two, with the jackknife over the parts.

    The matrices of the parts are added, each pixel counted once; the score is the mean over the replicates. The
    interval leaves out one part after the other (n parts: n - 1 degrees of freedom), so a part is the unit: seeds and
    draws are averaged within it, and what they add to its score is in the spread between the parts.

    Args:
        confusion: [parts, replicates, K, K], two parts or more.
        measure: one of MEASURES.
        against: of the entrant to subtract, the same parts and classes; its replicates may be fewer or more.

    Raises:
        UserError: no such measure, or fewer than two parts.
    """
    if measure not in MEASURES:
        raise unknown("metric", measure, MEASURES)
    if len(confusion) < 2:
        raise UserError(f"pool: {len(confusion)} part; an interval over the parts needs two or more")
    values = _left_out(confusion, measure)
    if against is not None:
        values = values - _left_out(against, measure)
    return jackknife(values, (Factor("parts", slice(1, 1 + len(confusion))),))


def _left_out(confusion: FloatArray, measure: str) -> FloatArray:
    """The score on all parts, then without each in turn, [1 + parts]."""
    whole = confusion.sum(0)
    stack = np.concatenate([whole[None], whole[None] - confusion])
    return np.asarray(MEASURES[measure](stack).mean(1))


def _sums(confusion: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Pixels true, predicted and right of each class, [..., K] each."""
    counts = confusion.astype(np.float64)
    return counts.sum(-1), counts.sum(-2), np.diagonal(counts, axis1=-2, axis2=-1)


def _mean(values: FloatArray, present: np.ndarray) -> FloatArray:
    return np.asarray((values * present).sum(-1) / present.sum(-1))
