"""Choosing a learning rate for what is trained on a budget: fixed, cross-validated in it, or on validation labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

from bench.data.splits import Splits
from bench.protocols.metrics import balanced_accuracy
from bench.protocols.selection import choose, fold_count, stratified_folds
from bench.study.protocols import Cell, Selection

M = TypeVar("M")


class RateSelection(ABC, Generic[M]):
    """What trains a model on some images at a learning rate, and chooses that rate without test labels."""

    splits: Splits
    n_classes: int

    @abstractmethod
    def _train(self, cell: Cell, indices: np.ndarray, lr: float) -> M:
        """A model trained on these images; the path depends on the cell's name alone."""

    @abstractmethod
    def _probabilities(self, model: M, indices: np.ndarray) -> np.ndarray:
        """Class probabilities of these images, float64 [n, K]."""

    def _rate(
        self,
        selection: Selection,
        cell: Cell,
        indices: np.ndarray,
        *,
        per_class: int,
        rates: Sequence[float],
        default: float,
        folds: int,
    ) -> tuple[float, int]:
        """The learning rate, and how many labels outside the budget it took to choose it; ties go to the default."""
        if selection == "fixed":
            return default, 0
        if selection == "within_budget":
            count = fold_count(per_class, folds)
            quality, outside = [self._cross_validated(cell, indices, count, lr) for lr in rates], 0
        else:
            validation = self.splits.validation[self.splits.labels[self.splits.validation] >= 0]
            quality = [self._quality(self._train(cell, indices, lr), validation) for lr in rates]
            outside = len(validation)
        return float(rates[int(choose(np.array(quality), rates, default))]), outside

    def _cross_validated(self, cell: Cell, indices: np.ndarray, folds: int, lr: float) -> float:
        held_out = stratified_folds(self.splits.labels[indices], folds, cell.label_budget, cell.draw)
        parts = [(indices[held_out != fold], indices[held_out == fold]) for fold in range(folds)]
        return float(np.mean([self._quality(self._train(cell, seen, lr), hidden) for seen, hidden in parts]))

    def _quality(self, model: M, indices: np.ndarray) -> float:
        predicted = self._probabilities(model, indices).argmax(1)
        labels = self.splits.labels[indices]
        return float(balanced_accuracy(predicted, labels, np.ones(len(labels)), self.n_classes))
