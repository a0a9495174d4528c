"""Label propagation: the budget's labels spread over the train pool, and from there to the test images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch

from bench.protocols.base import Budget, Cell, Evaluation, Score, budgets
from bench.protocols.graph import CHUNK_BYTES, affinity, nearest, normalised, spread, weigh
from bench.protocols.metrics import measure
from bench.study.protocols import LabelPropagationOptions


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells."""
    scores: dict[Cell, Score] = {}
    for layer in dict.fromkeys(cell.layer for cell in evaluation.cells):
        propagation = _Propagation(evaluation, layer)
        cells = [cell for cell in evaluation.cells if cell.layer == layer]
        for budget in budgets(evaluation.dataset, evaluation.options, cells):
            for score in propagation.scores(budget):
                scores[score.cell] = score
    return [scores[cell] for cell in evaluation.cells]


class _Propagation:
    """One layer: the graph that all budgets and draws share, and how test images hang on it."""

    def __init__(self, evaluation: Evaluation, layer: str) -> None:
        self.options = cast(LabelPropagationOptions, evaluation.options)
        self.splits = evaluation.dataset.splits
        self.n_classes = len(self.splits.class_names)
        self.pool, test = self.splits.train, self.splits.test
        points = torch.from_numpy(evaluation.features.standardised(layer)[np.concatenate([self.pool, test])])
        points = torch.nn.functional.normalize(points.to(evaluation.device), dim=1)
        self.dim = points.shape[1]
        known, queries = points[: len(self.pool)], points[len(self.pool) :]
        self.graph = normalised(affinity(known, self.options.neighbours))
        self.positions, similarities = nearest(queries, known, self.options.neighbours)
        self.weights = weigh(similarities)

    def scores(self, budget: Budget) -> Iterator[Score]:
        """The draws of one budget, as many at once as memory allows."""
        at_once = max(1, CHUNK_BYTES // (8 * 5 * len(self.pool) * self.n_classes))  # five arrays of the solver
        for start in range(0, len(budget.cells), at_once):
            rows = slice(start, start + at_once)
            yield from self._scores(budget.cells[rows], budget.indices[rows])

    def _scores(self, cells: tuple[Cell, ...], indices: np.ndarray) -> list[Score]:
        shares = self.probabilities(spread(self.graph, self.seeds(indices), self.options.alpha))
        reached = shares.sum(2) > 0
        shares[~reached] = 1  # an image no label reaches says nothing
        shares /= shares.sum(2, keepdims=True)
        measures = measure(shares, self.splits.labels[self.splits.test])
        return [
            Score(
                cell=cell,
                n_labels=indices.shape[1],
                metrics={name: float(values[row]) for name, values in measures.metrics.items()},
                class_counts=measures.class_counts,
                class_correct=measures.class_correct[row],
                correct=measures.bitmap(row),
                selected={"k": self.options.neighbours, "alpha": self.options.alpha},
                n_candidates=1,
                n_selection_labels=0,
                selection="fixed",
                extra={
                    "bytes_added": 4 * len(self.pool) * (self.dim + self.n_classes),
                    "pool": len(self.pool),
                    "unreached": float(1 - reached[row].mean()),
                },
            )
            for row, cell in enumerate(cells)
        ]

    def seeds(self, indices: np.ndarray) -> np.ndarray:
        """Y, float64 [pool, draws * K]: one where a draw knows the image to be of the class."""
        places = np.searchsorted(self.pool, indices)  # the train pool is sorted
        draws = np.arange(len(indices))[:, None]
        seeds = np.zeros((len(self.pool), len(indices) * self.n_classes))
        seeds[places, draws * self.n_classes + self.splits.labels[indices]] = 1
        return seeds

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Class weights of the test images, float64 [draws, N, K]: the mean over neighbours (Delalleau et al. 2005).

        Args:
            scores: float64 [pool, draws * K]; scaled to one for each image and draw first.
        """
        scores = scores.reshape(len(scores), -1, self.n_classes)
        total = scores.sum(2, keepdims=True)
        scores = np.divide(scores, total, out=np.zeros_like(scores), where=total > 0)
        result = np.zeros((scores.shape[1], len(self.positions), self.n_classes))
        for positions, weights in zip(self.positions.T, self.weights.T, strict=True):
            result += weights[:, None] * scores[positions].transpose(1, 0, 2)
        return result
