"""Nearest centroid: the class whose labelled images are nearest on average, on each frozen layer."""

from __future__ import annotations

from typing import cast

import numpy as np

from bench.data.catalog import Dataset
from bench.protocols.base import Budget, Cell, Evaluation, Score, budgets
from bench.protocols.metrics import measure
from bench.study.protocols import NearestCentroidOptions

_SAMPLE = 4096  # pool images whose covariance is taken


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells."""
    options = cast(NearestCentroidOptions, evaluation.options)
    scores: dict[Cell, Score] = {}
    for layer in dict.fromkeys(cell.layer for cell in evaluation.cells):
        cells = [cell for cell in evaluation.cells if cell.layer == layer]
        points = evaluation.features.standardised(layer).astype(np.float64)
        if options.distance == "cosine":
            points = unit(points)
        variance = direction_variance(points[evaluation.dataset.splits.train])
        for budget in budgets(evaluation.dataset, options, cells):
            for score in _scores(points, variance, options, evaluation.dataset, budget):
                scores[score.cell] = score
    return [scores[cell] for cell in evaluation.cells]


def _scores(
    points: np.ndarray, variance: float, options: NearestCentroidOptions, dataset: Dataset, budget: Budget
) -> list[Score]:
    """The draws of one budget."""
    splits = dataset.splits
    n_classes = len(splits.class_names)
    centroids = class_means(points[budget.indices], splits.labels[budget.indices], n_classes)
    if options.distance == "cosine":
        centroids = unit(centroids)
    labels_per_class = budget.indices.shape[1] / n_classes
    shares = probabilities(points[splits.test], centroids, variance * (1 + 1 / labels_per_class))
    measures = measure(shares, splits.labels[splits.test])
    return [
        Score(
            cell=cell,
            n_labels=budget.indices.shape[1],
            metrics={name: float(values[row]) for name, values in measures.metrics.items()},
            class_counts=measures.class_counts,
            class_correct=measures.class_correct[row],
            correct=measures.bitmap(row),
            selected={},
            n_candidates=1,
            n_selection_labels=0,
            selection="fixed",
            extra={"bytes_added": 4 * n_classes * points.shape[1]},
        )
        for row, cell in enumerate(budget.cells)
    ]


def class_means(known: np.ndarray, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Mean of each class's points in each draw.

    Args:
        known: float64 [draws, n, D].
        labels: int64 [draws, n].
        n_classes: K.

    Returns:
        float64 [draws, K, D]; nan for a class without labels.
    """
    member = (labels[:, None] == np.arange(n_classes)[:, None]).astype(np.float64)  # [draws, K, n]
    counts = member.sum(2, keepdims=True)
    return member @ known / np.where(counts > 0, counts, np.nan)


def probabilities(points: np.ndarray, centroids: np.ndarray, variance: float) -> np.ndarray:
    """Of classes that are equally likely spheres: softmax of minus the squared distances over twice the variance.

    Args:
        points: float64 [N, D].
        centroids: float64 [draws, K, D]; a class with nan gets probability zero.
        variance: of a point about its centroid, the centroid's own error included, along each direction.

    Returns:
        float64 [draws, N, K].
    """
    # |x|^2 is the same for every class, and leaves with the softmax
    logits = (points @ centroids.transpose(0, 2, 1) - np.square(centroids).sum(2)[:, None] / 2) / variance
    logits = np.where(np.isnan(logits), -np.inf, logits)
    weights = np.exp(logits - logits.max(2, keepdims=True))
    return weights / weights.sum(2, keepdims=True)


def direction_variance(pool: np.ndarray) -> float:
    """Total variance of the points over the number of directions they fill, tr(C)^2 / tr(C^2); 1 without variance.

    Features are correlated: a variance of one for each of them would count the same evidence many times.

    Args:
        pool: float64 [n, D]; at most 4096 of them are read.
    """
    pool = pool[:: max(1, len(pool) // _SAMPLE)]
    centred = pool - pool.mean(0)
    gram = centred @ centred.T if len(pool) < pool.shape[1] else centred.T @ centred
    total = float(np.trace(gram))
    return float(np.square(gram).sum()) / total / len(pool) if total > 0 else 1.0


def unit(points: np.ndarray) -> np.ndarray:
    """Points [..., D] scaled to length one; zero stays zero."""
    length = np.linalg.norm(points, axis=-1, keepdims=True)
    return points / np.where(length > 0, length, 1)
