"""Scores of many heads at once, from class probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
        accuracy; balanced_accuracy, macro_f1, macro_auroc and mean_specificity (both one-vs-rest; nan where one class
        alone is present) as unweighted means over the classes present among the labels; combined, the mean of
        macro_auroc and balanced_accuracy (the ranking score of the capsule-endoscopy challenge of arXiv 2410.19899);
        nll in nats, probabilities clipped as scikit-learn does; ece with 15 equal bins of the largest probability.
    """
    n_classes = probabilities.shape[2]
    predicted = probabilities.argmax(2)
    correct = predicted == labels
    counts = np.bincount(labels, minlength=n_classes)
    class_correct = _count(predicted, np.where(correct, 1.0, 0.0), n_classes).astype(np.int64)
    predicted_counts = _count(predicted, np.ones(predicted.shape), n_classes)
    recall, area = _balanced_accuracy(class_correct, counts), _macro_auroc(probabilities, labels, counts)
    metrics = {
        "accuracy": correct.mean(1),
        "balanced_accuracy": recall,
        "macro_f1": _macro_f1(class_correct, counts, predicted_counts),
        "macro_auroc": area,
        "mean_specificity": _mean_specificity(class_correct, counts, predicted_counts),
        "combined": (area + recall) / 2,
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


def _mean_specificity(class_correct: np.ndarray, counts: np.ndarray, predicted_counts: np.ndarray) -> np.ndarray:
    """Of the items of other classes, the share not taken for the class; mean over the classes."""
    scored = _contrasted(counts)
    if not len(scored):
        return np.full(len(class_correct), np.nan)
    negative = (counts.sum() - counts)[scored]
    false_positive = (predicted_counts - class_correct)[:, scored]
    return (1 - false_positive / negative).mean(1)


def _contrasted(counts: np.ndarray) -> np.ndarray:
    """The classes that have items, and items against them."""
    return np.flatnonzero((counts > 0) & (counts < counts.sum()))


def _macro_auroc(probabilities: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each class as the Mann-Whitney statistic of average ranks."""
    scored = _contrasted(counts)
    if not len(scored):
        return np.full(len(probabilities), np.nan)
    ranks = mean_ranks(probabilities[:, :, scored])
    positive = labels[:, None] == scored
    n_positive = counts[scored]
    rank_sum = (ranks * positive).sum(1)
    area = (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * (len(labels) - n_positive))
    return area.mean(1)


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 along the second axis, ties sharing the mean of theirs: [H, N, K] -> float64 [H, N, K].

    As `scipy.stats.rankdata`, whose module takes a second to import in every process that evaluates.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    place = np.arange(values.shape[1])[:, None]
    changes = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones((len(values), 1, values.shape[2]), dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate([ends, changes], axis=1), place, 0), axis=1)
    last = np.where(np.concatenate([changes, ends], axis=1), place, values.shape[1])
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks


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
