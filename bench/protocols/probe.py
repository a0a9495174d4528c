"""Logistic-regression heads on one matrix of features: what `linear` and `fusion` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.data.catalog import Dataset
from bench.protocols.base import Budget, Cell, Score, budgets
from bench.protocols.heads import SELECTION_TOLERANCE, TOLERANCE, Heads, fit_heads
from bench.protocols.metrics import balanced_accuracy, measure
from bench.protocols.selection import choose, fold_count, resolve, stratified_folds
from bench.study.protocols import HeadOptions, Selection


def probe(
    features: np.ndarray,
    dataset: Dataset,
    options: HeadOptions,
    cells: Sequence[Cell],
    extra: Mapping[str, Any],
    device: str = "cpu",
) -> list[Score]:
    """Scores the cells (of one layer and fusion) with heads on these features.

    Every draw of a budget is fitted in one batch. C is chosen from the draw's own labels, or fixed, or on the
    validation split; test labels are read after that.

    Args:
        features: float32 [N, D], standardised, in the order of the image store.
        dataset: labels and splits.
        options: regularisers and selection.
        cells: which budgets and draws.
        extra: copied into every score.
        device: where the heads are fitted.
    """
    return [
        score
        for budget in budgets(dataset, options, cells)
        for score in _Probe(features, dataset, options, budget, device).scores(extra)
    ]


class _Probe:
    """The draws of one budget."""

    def __init__(
        self, features: np.ndarray, dataset: Dataset, options: HeadOptions, budget: Budget, device: str
    ) -> None:
        self.features, self.splits, self.options, self.budget = features, dataset.splits, options, budget
        self.device = device
        self.n_classes = len(self.splits.class_names)
        self.candidates = options.candidates()
        self.per_class = budget.labels_per_class(self.n_classes)
        self.labels = self.splits.labels[budget.indices]
        self.inputs = self._tensor(budget.indices)

    def scores(self, extra: Mapping[str, Any]) -> list[Score]:
        selection = self._selection()
        C, n_selection_labels = self._select(selection)
        heads = self._fit(C[:, None], tolerance=TOLERANCE)
        test = self.splits.test
        probabilities = heads.probabilities(self._tensor(test))[:, 0].cpu().numpy()
        measures = measure(probabilities, self.splits.labels[test])
        return [
            Score(
                cell=cell,
                n_labels=self.labels.shape[1],
                metrics={name: float(values[row]) for name, values in measures.metrics.items()},
                class_counts=measures.class_counts,
                class_correct=measures.class_correct[row],
                correct=measures.bitmap(row),
                selected={"C": float(C[row])},
                n_candidates=1 if selection == "fixed" else len(self.candidates),
                n_selection_labels=n_selection_labels,
                selection=selection,
                extra={**extra, "converged": bool(heads.converged[row, 0])},
            )
            for row, cell in enumerate(self.budget.cells)
        ]

    def _selection(self) -> Selection:
        return resolve(self.options.selection, self.per_class, len(self.candidates))

    def _select(self, selection: Selection) -> tuple[np.ndarray, int]:
        """C of each draw, and how many labels outside the budget it took to choose it."""
        if selection == "fixed":
            return np.full(len(self.labels), self.options.c_default), 0
        quality, outside = self._within_budget() if selection == "within_budget" else self._held_out()
        chosen = choose(quality, self.candidates, self.options.c_default)
        return np.asarray(self.candidates)[chosen], outside

    def _within_budget(self) -> tuple[np.ndarray, int]:
        """Balanced accuracy [draws, candidates], mean over the folds: folds x candidates are one batch."""
        folds = fold_count(self.per_class, self.options.folds)
        held_out = np.stack(
            [
                stratified_folds(labels, folds, cell.label_budget, cell.draw)
                for labels, cell in zip(self.labels, self.budget.cells, strict=True)
            ]
        )
        outside = (held_out[:, :, None] == np.arange(folds)).astype(np.float64)  # [draws, n, folds]
        weights = np.repeat(1 - outside, len(self.candidates), axis=2)
        heads = self._fit(np.tile(self.candidates, (len(self.labels), folds)), torch.from_numpy(weights))
        predicted = heads.predictions(self.inputs).cpu().numpy()
        predicted = predicted.reshape(len(self.labels), folds, len(self.candidates), -1)
        quality = balanced_accuracy(
            predicted, self.labels[:, None, None], outside.transpose(0, 2, 1)[:, :, None], self.n_classes
        )
        return quality.mean(1), 0

    def _held_out(self) -> tuple[np.ndarray, int]:
        """Balanced accuracy [draws, candidates] on the labelled validation images, and how many those are."""
        validation = self.splits.validation[self.splits.labels[self.splits.validation] >= 0]
        heads = self._fit(np.tile(self.candidates, (len(self.labels), 1)))
        predicted = heads.predictions(self._tensor(validation)).cpu().numpy()
        truth = self.splits.labels[validation]
        return balanced_accuracy(predicted, truth, np.ones(len(truth)), self.n_classes), len(validation)

    def _fit(self, C: np.ndarray, weights: Tensor | None = None, tolerance: float = SELECTION_TOLERANCE) -> Heads:
        labels = torch.from_numpy(self.labels).to(self.device)
        # apart where a draw has several heads: what a draw selects must not depend on which other draws were asked for
        apart = C.shape[1] > 1
        return fit_heads(
            self.inputs, labels, self.n_classes, torch.from_numpy(C), weights, tolerance=tolerance, apart=apart
        )

    def _tensor(self, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(self.features[indices]).to(self.device, torch.float64)
