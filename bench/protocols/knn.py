"""k-NN: the majority vote of the nearest labelled images, on each frozen layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor

from bench.data.catalog import Dataset
from bench.protocols.base import Budget, Cell, Evaluation, Score, budgets
from bench.protocols.metrics import balanced_accuracy, measure
from bench.protocols.selection import choose, fold_count, resolve, stratified_folds
from bench.study.protocols import KnnOptions, Selection

CHUNK_BYTES = 1 << 28


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

    def __init__(self, points: Tensor, dataset: Dataset, options: KnnOptions, budget: Budget) -> None:
        self.points, self.splits, self.options, self.budget = points, dataset.splits, options, budget
        self.n_classes = len(self.splits.class_names)
        self.per_class = budget.labels_per_class(self.n_classes)
        self.candidates = options.candidates(self.per_class)
        self.default = min(options.k_default, self.candidates[-1])
        self.indices = np.sort(budget.indices, axis=1)  # ties of distance go to the first in the image store
        self.labels = self.splits.labels[self.indices]
        self.known = points[torch.from_numpy(self.indices)]

    def scores(self) -> list[Score]:
        selection = resolve(self.options.selection, self.per_class, len(self.candidates))
        k, outside = self._select(selection)
        test = self.splits.test
        neighbours = nearest(self.points[torch.tensor(test)], self.known, int(k.max()))
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
                extra={"bytes_added": 4 * self.labels.shape[1] * self.points.shape[1]},
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
        neighbours = nearest(self.known, self.known, self.candidates[-1], torch.from_numpy(held_out))
        predicted = self._predictions(neighbours)[:, :, None]
        outside = (held_out[:, None] == np.arange(folds)[:, None]).astype(np.float64)  # [draws, folds, n]
        return balanced_accuracy(predicted, self.labels[:, None, None], outside[:, None], self.n_classes).mean(2), 0

    def _held_out(self) -> tuple[np.ndarray, int]:
        """Balanced accuracy [draws, candidates] on the labelled validation images, and how many those are."""
        validation = self.splits.validation[self.splits.labels[self.splits.validation] >= 0]
        neighbours = nearest(self.points[torch.tensor(validation)], self.known, self.candidates[-1])
        truth = self.splits.labels[validation]
        return balanced_accuracy(self._predictions(neighbours), truth, np.ones(len(truth)), self.n_classes), len(truth)

    def _predictions(self, neighbours: np.ndarray) -> np.ndarray:
        """The class each candidate k predicts, int64 [draws, candidates, queries]."""
        ranks = np.arange(neighbours.shape[2])
        shares = [votes(self.labels, neighbours, ranks[None, None] < k, self.n_classes) for k in self.candidates]
        return np.stack(shares, 1).argmax(-1)


def nearest(queries: Tensor, known: Tensor, k: int, folds: Tensor | None = None) -> np.ndarray:
    """The k nearest of each draw's known points, nearest first; equal distances in the order of the points.

    Args:
        queries: float64 [Q, D], or [draws, n, D] for each draw its own.
        known: float64 [draws, n, D].
        k: how many; at most n are found.
        folds: int64 [draws, n], when the queries are the known points: those of the query's own fold are left out.

    Returns:
        int64 [draws, Q, min(k, n)], positions among the known points.
    """
    k = min(k, known.shape[1])
    found = []
    for rows in _chunks(queries.shape[-2], known.shape[0] * known.shape[1]):
        part = queries[..., rows, :]
        distance = part.square().sum(-1)[..., :, None] + known.square().sum(-1)[:, None]
        distance.sub_(part @ known.mT, alpha=2).clamp_(min=0)
        if folds is not None:
            same = folds[:, rows, None].to(distance.device) == folds[:, None].to(distance.device)
            distance.masked_fill_(same, torch.inf)
        found.append(_smallest(distance, k).cpu().numpy())
    return np.concatenate(found, axis=1)


def _smallest(distance: Tensor, k: int) -> Tensor:
    """Positions [draws, Q, k] of the k smallest, ties to the smaller position."""
    # top-k orders ties as it likes: where the smallest k + 1 hold one, a stable sort decides
    values, positions = distance.topk(min(k + 1, distance.shape[2]), largest=False, sorted=True)
    tied = (values[..., 1:] == values[..., :-1]).any(-1)
    positions = positions[..., :k]
    if bool(tied.any()):
        positions[tied] = torch.sort(distance[tied], dim=-1, stable=True).indices[:, :k]
    return positions


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


def _points(features: np.ndarray, distance: str, device: str) -> Tensor:
    """Features whose euclidean distances rank as the wanted ones do, float64 [N, D]."""
    points = torch.from_numpy(features.astype(np.float64)).to(device)
    return torch.nn.functional.normalize(points, dim=1) if distance == "cosine" else points


def _chunks(queries: int, known: int) -> Iterator[slice]:
    rows = max(1, CHUNK_BYTES // (24 * known))
    return (slice(start, start + rows) for start in range(0, queries, rows))
