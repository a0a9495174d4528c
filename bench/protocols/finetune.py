"""Fine-tuning: an encoder (or its last blocks) and a linear head trained on the budget's images, once per draw."""

from __future__ import annotations

from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from bench.data.batches import to_float
from bench.protocols.base import Budget, Cell, Evaluation, Score, budgets
from bench.protocols.metrics import measure
from bench.protocols.partial import shipped_bytes
from bench.protocols.rates import RateSelection
from bench.protocols.recipe import Classifier, Recipe
from bench.protocols.selection import resolve
from bench.study.protocols import FinetuneOptions

STATISTICS_IMAGES = 1024
EVALUATION_BATCH = 512


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells."""
    return score_cells(evaluation, Trainer(evaluation))


def score_cells(evaluation: Evaluation, trainer: Trainer) -> list[Score]:
    """What the trainer makes of every cell, in the order of the cells."""
    scores = {
        cell: trainer.score(cell, indices, budget)
        for budget in budgets(evaluation.dataset, evaluation.options, evaluation.cells)
        for cell, indices in zip(budget.cells, budget.indices, strict=True)
    }
    return [scores[cell] for cell in evaluation.cells]


class Trainer(RateSelection[Classifier]):
    """Everything the cells share: the encoder they start from, its feature statistics, the images."""

    recipe_type: ClassVar[type[Recipe]] = Recipe

    def __init__(self, evaluation: Evaluation) -> None:
        self.options = cast(FinetuneOptions, evaluation.options)
        self.splits = evaluation.dataset.splits
        self.images = evaluation.dataset.images.images
        self.seed, self.device = evaluation.seed, evaluation.device
        self.n_classes = len(self.splits.class_names)
        self.encoder = evaluation.encoder().to(self.device)
        mean, std = self._statistics()
        self.recipe = self.recipe_type(evaluation.dataset, self.encoder, mean, std, self.options, self.device)

    def score(self, cell: Cell, indices: np.ndarray, budget: Budget) -> Score:
        """Selects the learning rate, trains on the budget, and scores the result on the test split."""
        candidates = self.options.candidates()
        per_class = budget.labels_per_class(self.n_classes)
        selection = resolve(self.options.selection, per_class, len(candidates))
        lr, outside = self._rate(
            selection,
            cell,
            indices,
            per_class=per_class,
            rates=candidates,
            default=self.options.lr,
            folds=self.options.folds,
        )
        classifier = self._train(cell, indices, lr)
        test = self.splits.test
        measures = measure(self._probabilities(classifier, test)[None], self.splits.labels[test])
        return Score(
            cell=cell,
            n_labels=len(indices),
            metrics={name: float(values[0]) for name, values in measures.metrics.items()},
            class_counts=measures.class_counts,
            class_correct=measures.class_correct[0],
            correct=measures.bitmap(0),
            selected={"lr": lr},
            n_candidates=1 if selection == "fixed" else len(candidates),
            n_selection_labels=outside,
            selection=selection,
            extra={"bytes_added": self._bytes(classifier)},
        )

    def _bytes(self, classifier: Classifier) -> int:
        """What a deployment adds to the images' encoder: all of a new one, or what training changed of its blocks."""
        if self.options.last_blocks is not None:
            return shipped_bytes(classifier)
        return 4 * sum(parameter.numel() for parameter in classifier.parameters())

    def _train(self, cell: Cell, indices: np.ndarray, lr: float) -> Classifier:
        """A classifier trained from the encoder as it was handed in; the path depends on the cell's name alone."""
        return self.recipe.train(indices, lr, self.seed, "finetune", cell.label_budget, cell.draw)

    @torch.no_grad()
    def _probabilities(self, classifier: Classifier, indices: np.ndarray) -> np.ndarray:
        """Class probabilities, float64 [n, K]."""
        parts = [
            torch.softmax(
                classifier(to_float(self.images[indices[start : start + EVALUATION_BATCH]], self.device)).double(), 1
            )
            for start in range(0, len(indices), EVALUATION_BATCH)
        ]
        return torch.cat(parts).cpu().numpy()

    @torch.no_grad()
    def _statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [D] of the untouched encoder's features on images of the train pool."""
        pool = self.splits.train[:: max(1, len(self.splits.train) // STATISTICS_IMAGES)][:STATISTICS_IMAGES]
        encoder = self.encoder.eval()
        batches = (pool[start : start + EVALUATION_BATCH] for start in range(0, len(pool), EVALUATION_BATCH))
        features = torch.cat([encoder(to_float(self.images[batch], self.device)) for batch in batches])
        std, mean = torch.std_mean(features, dim=0)
        return mean, torch.where(std > 1e-6, std, torch.ones_like(std))
