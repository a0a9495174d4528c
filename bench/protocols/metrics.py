"""Scores of many heads at once, from class probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

ECE_BINS = 15


@dataclass(frozen=True)
class Measures:
    """Scores of H heads on N test items.

    Attributes:
        metrics: by name, float64 [H].
        class_counts: int64 [K].
        class_correct: int64 [H, K].
        correct: bool [H, N].
    """

    metrics: dict[str, np.ndarray]
    class_counts: np.ndarray
    class_correct: np.ndarray
    correct: np.ndarray

    def bitmap(self, head: int) -> bytes:
        """Which items this head got right, numpy.packbits."""
        return np.packbits(self.correct[head]).tobytes()


def measure(probabilities: np.ndarray, labels: np.ndarray) -> Measures:
    """Every score of every head.

    Args:
        probabilities: [H, N, K], rows summing to one; the prediction is the largest, ties to the smaller class.
        labels: int64 [N], in 0..K-1.

    Returns:
        accuracy; balanced_accuracy, macro_f1 and macro_auroc (one-vs-rest; nan where one class alone is present) as
        unweighted means over the classes present among the labels; nll in nats, probabilities clipped as scikit-learn
        does; ece with 15 equal bins of the largest probability.
    """
    n_classes = probabilities.shape[2]
    predicted = probabilities.argmax(2)
    correct = predicted == labels
    counts = np.bincount(labels, minlength=n_classes)
    class_correct = _count(predicted, np.where(correct, 1.0, 0.0), n_classes).astype(np.int64)
    metrics = {
        "accuracy": correct.mean(1),
        "balanced_accuracy": _balanced_accuracy(class_correct, counts),
        "macro_f1": _macro_f1(class_correct, counts, _count(predicted, np.ones(predicted.shape), n_classes)),
        "macro_auroc": _macro_auroc(probabilities, labels, counts),
        "nll": _nll(probabilities, labels),
        "ece": _ece(probabilities.max(2), correct),
    }
    return Measures(metrics, counts, class_correct, correct)


def balanced_accuracy(predicted: np.ndarray, labels: np.ndarray, weights: np.ndarray, n_classes: int) -> np.ndarray:
    """Mean recall over the classes that have weight.

    Args:
        predicted: int64 [..., n].
        labels: int64, broadcasts to [..., n].
        weights: of the samples, broadcasts to [..., n]; zero leaves one out.
        n_classes: K.

    Returns:
        float64 [...].
    """
    member = (labels[..., None] == np.arange(n_classes)) * weights[..., None]
    total = member.sum(-2)
    right = (member * (predicted == labels)[..., None]).sum(-2)
    present = total > 0
    recall = np.divide(right, total, out=np.zeros(np.broadcast_shapes(right.shape, total.shape)), where=present)
    return recall.sum(-1) / present.sum(-1)


def _balanced_accuracy(class_correct: np.ndarray, counts: np.ndarray) -> np.ndarray:
    present = counts > 0
    return (class_correct[:, present] / counts[present]).mean(1)


def _macro_f1(class_correct: np.ndarray, counts: np.ndarray, predicted_counts: np.ndarray) -> np.ndarray:
    present = counts > 0
    return (2 * class_correct[:, present] / (counts + predicted_counts)[:, present]).mean(1)


def _macro_auroc(probabilities: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class as the Mann-Whitney statistic of average ranks."""
    scored = np.flatnonzero((counts > 0) & (counts < len(labels)))
    if not len(scored):
        return np.full(len(probabilities), np.nan)
    ranks = rankdata(probabilities[:, :, scored], axis=1)
    positive = labels[:, None] == scored
    n_positive = counts[scored]
    rank_sum = (ranks * positive).sum(1)
    area = (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * (len(labels) - n_positive))
    return area.mean(1)


def _nll(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    own = probabilities[:, np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.clip(own, np.finfo(np.float64).eps, 1)).mean(1)


def _ece(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Expected calibration error over bins (a, b] (Guo et al., arXiv 1706.04599)."""
    # a vote of 3 in 5 belongs to the bin it bounds, whichever way its product was rounded
    bins = np.clip(np.ceil(confidence * ECE_BINS - 1e-9).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gap = _count(bins, correct - confidence, ECE_BINS)
    return np.abs(gap).sum(1) / confidence.shape[1]


def _count(bins: np.ndarray, values: np.ndarray, n_bins: int) -> np.ndarray:
    """Sums [H, bins] of values [H, N] that fall in each bin."""
    heads = len(bins)
    flat = bins + n_bins * np.arange(heads)[:, None]
    return np.bincount(flat.ravel(), values.ravel(), heads * n_bins).reshape(heads, n_bins)
