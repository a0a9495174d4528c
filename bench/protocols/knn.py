"""k-NN: the majority vote of the nearest labelled images, on each frozen layer."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from bench.data.catalog import Dataset
from bench.protocols.base import Budget, Cell, Evaluation, Score, budgets
from bench.protocols.metrics import balanced_accuracy, measure
from bench.protocols.neighbours import Points, nearest
from bench.protocols.selection import choose, fold_count, resolve, stratified_folds
from bench.study.protocols import KnnOptions, Selection


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells."""
    options = cast(KnnOptions, evaluation.options)
    scores: dict[Cell, Score] = {}
    for layer in dict.fromkeys(cell.layer for cell in evaluation.cells):
        cells = [cell for cell in evaluation.cells if cell.layer == layer]
        points = _points(evaluation.features.standardised(layer), options.distance, evaluation.device)
        for budget in budgets(evaluation.dataset, options, cells):
            for score in _Vote(points, evaluation.dataset, options, budget).scores():
                scores[score.cell] = score
    return [scores[cell] for cell in evaluation.cells]


class _Vote:
    """The draws of one budget."""

    def __init__(self, points: Points, dataset: Dataset, options: KnnOptions, budget: Budget) -> None:
        self.points, self.splits, self.options, self.budget = points, dataset.splits, options, budget
        self.n_classes = len(self.splits.class_names)
        self.per_class = budget.labels_per_class(self.n_classes)
        self.candidates = options.candidates(self.per_class)
        self.default = min(options.k_default, self.candidates[-1])
        self.indices = np.sort(budget.indices, axis=1)  # ties of distance go to the first in the image store
        self.labels = self.splits.labels[self.indices]

    def scores(self) -> list[Score]:
        selection = resolve(self.options.selection, self.per_class, len(self.candidates))
        k, outside = self._select(selection)
        test = self.splits.test
        neighbours = self._nearest(test, int(k.max()))
        taken = np.arange(neighbours.shape[2]) < k[:, None, None]
        shares = votes(self.labels, neighbours, taken, self.n_classes)
        measures = measure(shares, self.splits.labels[test])
        return [
            Score(
                cell=cell,
                n_labels=self.labels.shape[1],
                metrics={name: float(values[row]) for name, values in measures.metrics.items()},
                class_counts=measures.class_counts,
                class_correct=measures.class_correct[row],
                correct=measures.bitmap(row),
                selected={"k": int(k[row])},
                n_candidates=1 if selection == "fixed" else len(self.candidates),
                n_selection_labels=outside,
                selection=selection,
                extra={"bytes_added": 4 * self.labels.shape[1] * self.points.exact.shape[1]},
            )
            for row, cell in enumerate(self.budget.cells)
        ]

    def _select(self, selection: Selection) -> tuple[np.ndarray, int]:
        """k of each draw, and how many labels outside the budget it took to choose it."""
        if selection == "fixed":
            return np.full(len(self.labels), self.default), 0
        quality, outside = self._within_budget() if selection == "within_budget" else self._held_out()
        return np.asarray(self.candidates)[choose(quality, self.candidates, self.default)], outside

    def _within_budget(self) -> tuple[np.ndarray, int]:
        """Balanced accuracy [draws, candidates], mean over the folds; neighbours come from the other folds."""
        folds = fold_count(self.per_class, self.options.folds)
        held_out = np.stack(
            [
                stratified_folds(labels, folds, cell.label_budget, cell.draw)
                for labels, cell in zip(self.labels, self.budget.cells, strict=True)
            ]
        )
        drawn = zip(self.indices, held_out, strict=True)
        neighbours = np.stack([nearest(self.points, known, known, self.candidates[-1], out) for known, out in drawn])
        predicted = self._predictions(neighbours)[:, :, None]
        outside = (held_out[:, None] == np.arange(folds)[:, None]).astype(np.float64)  # [draws, folds, n]
        return balanced_accuracy(predicted, self.labels[:, None, None], outside[:, None], self.n_classes).mean(2), 0

    def _held_out(self) -> tuple[np.ndarray, int]:
        """Balanced accuracy [draws, candidates] on the labelled validation images, and how many those are."""
        validation = self.splits.validation[self.splits.labels[self.splits.validation] >= 0]
        neighbours = self._nearest(validation, self.candidates[-1])
        truth = self.splits.labels[validation]
        return balanced_accuracy(self._predictions(neighbours), truth, np.ones(len(truth)), self.n_classes), len(truth)

    def _nearest(self, queries: np.ndarray, k: int) -> np.ndarray:
        """The k nearest of each draw, int64 [draws, queries, min(k, n)]."""
        return np.stack([nearest(self.points, queries, known, k) for known in self.indices])

    def _predictions(self, neighbours: np.ndarray) -> np.ndarray:
        """The class each candidate k predicts, int64 [draws, candidates, queries]."""
        ranks = np.arange(neighbours.shape[2])
        shares = [votes(self.labels, neighbours, ranks[None, None] < k, self.n_classes) for k in self.candidates]
        return np.stack(shares, 1).argmax(-1)


def votes(labels: np.ndarray, neighbours: np.ndarray, taken: np.ndarray, n_classes: int) -> np.ndarray:
    """Share of the votes each class gets.

    Args:
        labels: int64 [draws, n].
        neighbours: int64 [draws, Q, k].
        taken: bool, broadcasts to [draws, Q, k]; which neighbours vote.
        n_classes: K.

    Returns:
        float64 [draws, Q, K]; rows sum to one.
    """
    draws, queries, _ = neighbours.shape
    classes = labels[np.arange(draws)[:, None, None], neighbours]
    weights = np.broadcast_to(taken, classes.shape).astype(np.float64)
    cells = classes + n_classes * np.arange(draws * queries).reshape(draws, queries, 1)
    counts = np.bincount(cells.ravel(), weights.ravel(), draws * queries * n_classes)
    return counts.reshape(draws, queries, n_classes) / weights.sum(-1, keepdims=True)


def _points(features: np.ndarray, distance: str, device: str) -> Points:
    """Features [N, D] whose euclidean distances rank as the wanted ones do."""
    points = torch.from_numpy(features.astype(np.float64)).to(device)
    return Points.of(torch.nn.functional.normalize(points, dim=1) if distance == "cosine" else points)
