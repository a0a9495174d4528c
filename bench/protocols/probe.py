"""Logistic-regression heads on one matrix of features: what `linear` and `fusion` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.data.catalog import Dataset
from bench.protocols.base import Budget, Cell, Score, budgets
from bench.protocols.heads import SCORED_TOLERANCE, SELECTION_TOLERANCE, Heads, fit_heads
from bench.protocols.imbalance import class_counts, log_prior, sample_weights
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

    Every draw of a budget is fitted in one batch, under the options' remedy of class imbalance, whose weights and
    priors are those of all the draw's labels, in its folds too. C is chosen from the draw's own labels, or fixed, or
    on the validation split; test labels are read after that.

    Args:
        features: float32 [N, D], standardised, in the order of the image store.
        dataset: labels and splits.
        options: regularisers and selection.
        cells: which budgets and draws.
        extra: copied into every score.
        device: where the heads are fitted.
    """
    fitted = fit_probes(features, dataset, options, cells, device)
    return [score for part in fitted for score in part.scores(features[dataset.splits.test], dataset, extra)]


def fit_probes(
    features: np.ndarray, dataset: Dataset, options: HeadOptions, cells: Sequence[Cell], device: str = "cpu"
) -> list[FittedProbe]:
    """The heads of `probe`, of one budget each, fitted and selected without a look at the test split."""
    return [_Probe(features, dataset, options, budget, device).fitted() for budget in budgets(dataset, options, cells)]


@dataclass(frozen=True)
class FittedProbe:
    """The heads of the draws of one budget, and how they were selected."""

    cells: tuple[Cell, ...]
    n_labels: int
    heads: Heads
    C: np.ndarray
    selection: Selection
    n_candidates: int
    n_selection_labels: int

    def scores(self, test_features: np.ndarray, dataset: Dataset, extra: Mapping[str, Any]) -> list[Score]:
        """Scores on features of the test images, float32 [test, D], standardised, in the order of the split."""
        inputs = torch.from_numpy(test_features).to(self.heads.weight.device, torch.float64)
        probabilities = self.heads.probabilities(inputs)[:, 0].cpu().numpy()
        measures = measure(probabilities, dataset.splits.labels[dataset.splits.test])
        return [
            Score(
                cell=cell,
                n_labels=self.n_labels,
                metrics={name: float(values[row]) for name, values in measures.metrics.items()},
                class_counts=measures.class_counts,
                class_correct=measures.class_correct[row],
                correct=measures.bitmap(row),
                selected={"C": float(self.C[row])},
                n_candidates=self.n_candidates,
                n_selection_labels=self.n_selection_labels,
                selection=self.selection,
                extra={**extra, "converged": bool(self.heads.converged[row, 0])},
            )
            for row, cell in enumerate(self.cells)
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

    def fitted(self) -> FittedProbe:
        selection = self._selection()
        C, n_selection_labels = self._select(selection)
        return FittedProbe(
            cells=self.budget.cells,
            n_labels=self.labels.shape[1],
            heads=self._fit(C[:, None], tolerance=SCORED_TOLERANCE),
            C=C,
            selection=selection,
            n_candidates=1 if selection == "fixed" else len(self.candidates),
            n_selection_labels=n_selection_labels,
        )

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
        heads = self._fit(np.tile(self.candidates, (len(self.labels), 1)), torch.from_numpy(1 - outside))
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
        if self.options.imbalance == "class_weights":
            shares = torch.from_numpy(sample_weights(self.labels, self.n_classes, "class_weights"))[:, :, None]
            weights = shares if weights is None else weights * shares
        heads = fit_heads(self.inputs, labels, self.n_classes, torch.from_numpy(C), weights, tolerance=tolerance)
        return self._adjusted(heads) if self.options.imbalance == "logit_adjustment" else heads

    def _adjusted(self, heads: Heads) -> Heads:
        """The heads less the log prior of their draw's labels (arXiv 2007.07314, section 4.1, tau = 1)."""
        prior = torch.from_numpy(log_prior(class_counts(self.labels, self.n_classes)))
        return replace(heads, bias=heads.bias - prior[:, None].to(heads.bias))

    def _tensor(self, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(self.features[indices]).to(self.device, torch.float64)
