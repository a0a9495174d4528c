"""The linear probe of MAE on features that were encoded once (arXiv 2111.06377, appendix A.1, table 10).

Batch normalisation without affine parameters, a linear layer, LARS: no feature has to be standardised or penalised
beforehand. All learning rates that a selection compares are trained together: they read the same batches, and the
batch norm, which no gradient reaches, is the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.catalog import Dataset
from bench.protocols.base import Budget, Cell, Score, budgets
from bench.protocols.batches import batch_places, step_count
from bench.protocols.imbalance import class_counts, loss
from bench.protocols.metrics import balanced_accuracy, measure
from bench.protocols.selection import choose, fold_count, resolve, stratified_folds
from bench.seeds import named_seed
from bench.study.protocols import LinearOptions, Selection
from bench.training.optim import Lars, cosine, set_lr

EPSILON = 1e-6  # of the batch norm
INITIAL_STD = 0.01  # of the weights; biases start at zero


class Probes(nn.Module):
    """Linear heads on one batch norm; all start from the same weights, which the seed names."""

    def __init__(self, dim: int, n_classes: int, count: int, seed: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, eps=EPSILON, affine=False)
        self.heads = nn.ModuleList()
        with torch.random.fork_rng(devices=[]):
            for _ in range(count):
                torch.manual_seed(seed)
                head = nn.Linear(dim, n_classes)
                nn.init.normal_(head.weight, std=INITIAL_STD)
                nn.init.zeros_(head.bias)
                self.heads.append(head)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Logits [n, K] of each head, of features [n, D]."""
        normalised = self.norm(features)
        return [head(normalised) for head in self.heads]


def fit_probes(
    features: Tensor, labels: np.ndarray, n_classes: int, rates: Sequence[float], options: LinearOptions, *names: object
) -> Probes:
    """One head for each learning rate, in evaluation mode; a head does not depend on which others there are.

    Args:
        features: float32 [n, D], as the encoder gives them.
        labels: int64 [n].
        n_classes: K.
        rates: in the units of `options.lr`.
        options: the recipe.
        names: every random number is named by these alone.
    """
    probes = Probes(features.shape[1], n_classes, len(rates), named_seed(*names, "head")).to(features.device)
    groups = [
        {"params": list(head.parameters()), "lr_scale": options.peak(rate)}
        for head, rate in zip(probes.heads, rates, strict=True)
    ]
    optimizer = Lars(groups, lr=1.0)
    steps = step_count(len(labels), options.batch_size, options.epochs, options.steps)
    counts, targets = class_counts(labels, n_classes), torch.from_numpy(labels).to(features.device)
    batches = batch_places(labels, n_classes, options.batch_size, steps, options.imbalance, *names)
    for step, places in enumerate(batches):
        seen = torch.from_numpy(places).to(features.device)
        set_lr(optimizer, cosine(step, steps, options.warmup))
        optimizer.zero_grad(set_to_none=True)
        losses = [loss(logits, targets[seen], options.imbalance, counts) for logits in probes(features[seen])]
        torch.stack(losses).sum().backward()
        optimizer.step()
    return probes.eval()


def probe_by_lars(
    features: np.ndarray,
    dataset: Dataset,
    options: LinearOptions,
    cells: Sequence[Cell],
    extra: Mapping[str, Any],
    seed: int,
    device: str = "cpu",
) -> list[Score]:
    """Scores the cells (of one layer), one after the other; the learning rate is selected by the common rules.

    Args:
        features: float [N, D], in the order of the image store.
        dataset: labels and splits.
        options: recipe and selection.
        cells: which budgets and draws.
        extra: copied into every score.
        seed: names the initial heads and the order of the batches.
        device: where the heads are trained.
    """
    return [
        _Cell(features, dataset, options, budget, cell, indices, seed, device).score(extra)
        for budget in budgets(dataset, options, cells)
        for cell, indices in zip(budget.cells, budget.indices, strict=True)
    ]


class _Cell:
    """One draw of one budget."""

    def __init__(
        self,
        features: np.ndarray,
        dataset: Dataset,
        options: LinearOptions,
        budget: Budget,
        cell: Cell,
        indices: np.ndarray,
        seed: int,
        device: str,
    ) -> None:
        self.features, self.splits, self.options = features, dataset.splits, options
        self.cell, self.indices, self.device = cell, indices, device
        self.n_classes = len(self.splits.class_names)
        self.per_class = budget.labels_per_class(self.n_classes)
        self.rates = options.rates()
        self.names = (seed, "linear", cell.label_budget, cell.draw)

    def score(self, extra: Mapping[str, Any]) -> Score:
        selection = resolve(self.options.selection, self.per_class, len(self.rates))
        lr, n_selection_labels = self._select(selection)
        test = self.splits.test
        probabilities = self._probabilities(self._fit(self.indices, [lr]), test)
        measures = measure(probabilities, self.splits.labels[test])
        return Score(
            cell=self.cell,
            n_labels=len(self.indices),
            metrics={name: float(values[0]) for name, values in measures.metrics.items()},
            class_counts=measures.class_counts,
            class_correct=measures.class_correct[0],
            correct=measures.bitmap(0),
            selected={"lr": lr},
            n_candidates=1 if selection == "fixed" else len(self.rates),
            n_selection_labels=n_selection_labels,
            selection=selection,
            extra=dict(extra),
        )

    def _select(self, selection: Selection) -> tuple[float, int]:
        """The learning rate, and how many labels outside the budget it took to choose it."""
        if selection == "fixed":
            return self.options.lr, 0
        if selection == "within_budget":
            quality, outside = self._within_budget(), 0
        else:
            validation = self.splits.validation[self.splits.labels[self.splits.validation] >= 0]
            quality, outside = self._quality(self._fit(self.indices, self.rates), validation), len(validation)
        return float(self.rates[int(choose(quality, self.rates, self.options.lr))]), outside

    def _within_budget(self) -> np.ndarray:
        """Balanced accuracy [rates], mean over the folds."""
        folds = fold_count(self.per_class, self.options.folds)
        held_out = stratified_folds(self.splits.labels[self.indices], folds, self.cell.label_budget, self.cell.draw)
        parts = [(self.indices[held_out != fold], self.indices[held_out == fold]) for fold in range(folds)]
        return np.mean([self._quality(self._fit(seen, self.rates), hidden) for seen, hidden in parts], axis=0)

    def _quality(self, probes: Probes, indices: np.ndarray) -> np.ndarray:
        """Balanced accuracy [rates] on some images."""
        predicted, labels = self._probabilities(probes, indices).argmax(-1), self.splits.labels[indices]
        return balanced_accuracy(predicted, labels, np.ones(len(labels)), self.n_classes)

    def _fit(self, indices: np.ndarray, rates: Sequence[float]) -> Probes:
        labels = self.splits.labels[indices]
        return fit_probes(self._tensor(indices), labels, self.n_classes, rates, self.options, *self.names)

    @torch.no_grad()
    def _probabilities(self, probes: Probes, indices: np.ndarray) -> np.ndarray:
        """Class probabilities, float64 [rates, n, K]."""
        logits = torch.stack(probes(self._tensor(indices)))
        return torch.softmax(logits.double(), -1).cpu().numpy()

    def _tensor(self, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(self.features[indices], dtype=np.float32)).to(self.device)
