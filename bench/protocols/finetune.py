"""Fine-tuning: the whole encoder and a linear head trained on the budget's images, once per budget and draw."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.augment import augment
from bench.data.batches import to_float
from bench.data.draws import Draws
from bench.methods.encoder import Encoder
from bench.protocols.base import Budget, Cell, Evaluation, Score, budgets
from bench.protocols.metrics import balanced_accuracy, measure
from bench.protocols.selection import choose, fold_count, resolve, stratified_folds
from bench.seeds import named_seed
from bench.study.protocols import FinetuneOptions, Selection
from bench.training.optim import adamw, cosine, layer_decay_groups, set_lr

STATISTICS_IMAGES = 1024
EVALUATION_BATCH = 512
BETAS = (0.9, 0.999)


class Classifier(nn.Module):
    """An encoder's "last" features, standardised by fixed statistics, under a linear head that starts at zero."""

    def __init__(self, encoder: Encoder, mean: Tensor, std: Tensor, n_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        with torch.random.fork_rng(devices=[]):
            self.head = nn.Linear(len(mean), n_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, K] of images [N, C, H, W] in [0, 1]."""
        return self.head((self.encoder(images) - self.mean) / self.std)


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells."""
    trainer = _Trainer(evaluation)
    scores = {
        cell: trainer.score(cell, indices, budget)
        for budget in budgets(evaluation.dataset, evaluation.options, evaluation.cells)
        for cell, indices in zip(budget.cells, budget.indices, strict=True)
    }
    return [scores[cell] for cell in evaluation.cells]


class _Trainer:
    """Everything the cells share: the encoder they start from, its feature statistics, the images."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.options = cast(FinetuneOptions, evaluation.options)
        self.splits = evaluation.dataset.splits
        self.images = evaluation.dataset.images.images
        self.seed, self.device = evaluation.seed, evaluation.device
        self.n_classes = len(self.splits.class_names)
        self.encoder = evaluation.encoder().to(self.device)
        self.mean, self.std = self._statistics()

    def score(self, cell: Cell, indices: np.ndarray, budget: Budget) -> Score:
        """Selects the learning rate, trains on the budget, and scores the result on the test split."""
        candidates = self.options.candidates()
        per_class = budget.labels_per_class(self.n_classes)
        selection = resolve(self.options.selection, per_class, len(candidates))
        lr, outside = self._select(selection, cell, indices, per_class)
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
            extra={"bytes_added": 4 * sum(p.numel() for p in classifier.parameters())},
        )

    def _select(self, selection: Selection, cell: Cell, indices: np.ndarray, per_class: int) -> tuple[float, int]:
        """The learning rate, and how many labels outside the budget it took to choose it."""
        if selection == "fixed":
            return self.options.lr, 0
        candidates = self.options.candidates()
        if selection == "within_budget":
            quality, outside = [self._cross_validated(cell, indices, per_class, lr) for lr in candidates], 0
        else:
            validation = self.splits.validation[self.splits.labels[self.splits.validation] >= 0]
            quality = [self._quality(self._train(cell, indices, lr), validation) for lr in candidates]
            outside = len(validation)
        return float(candidates[int(choose(np.array(quality), candidates, self.options.lr))]), outside

    def _cross_validated(self, cell: Cell, indices: np.ndarray, per_class: int, lr: float) -> float:
        folds = fold_count(per_class, self.options.folds)
        held_out = stratified_folds(self.splits.labels[indices], folds, cell.label_budget, cell.draw)
        parts = [(indices[held_out != fold], indices[held_out == fold]) for fold in range(folds)]
        return float(np.mean([self._quality(self._train(cell, seen, lr), hidden) for seen, hidden in parts]))

    def _quality(self, classifier: Classifier, indices: np.ndarray) -> float:
        predicted = self._probabilities(classifier, indices).argmax(1)
        labels = self.splits.labels[indices]
        return float(balanced_accuracy(predicted, labels, np.ones(len(labels)), self.n_classes))

    def _train(self, cell: Cell, indices: np.ndarray, lr: float) -> Classifier:
        """A classifier trained from the encoder as it was handed in; the path depends on the cell's name alone."""
        options = self.options
        classifier = Classifier(copy.deepcopy(self.encoder), self.mean, self.std, self.n_classes).to(self.device)
        classifier.train().requires_grad_(True)
        optimizer = adamw(self._groups(classifier), lr, BETAS)
        steps = max(options.steps, options.epochs * math.ceil(len(indices) / options.batch_size))
        names = (self.seed, "finetune", cell.label_budget, cell.draw)
        with torch.random.fork_rng(devices=[] if self.device == "cpu" else [torch.cuda.current_device()]):
            torch.manual_seed(named_seed(*names, "network"))  # networks with dropout draw from the global generator
            for step, batch in enumerate(_batches(indices, options.batch_size, steps, *names)):
                set_lr(optimizer, lr * cosine(step, steps, options.warmup))
                draws = Draws(named_seed(*names, "step", step), len(batch), device=self.device)
                images = augment(to_float(self.images[batch], self.device), options.augmentation, draws)
                labels = torch.tensor(self.splits.labels[batch]).to(self.device)
                optimizer.zero_grad(set_to_none=True)
                nn.functional.cross_entropy(classifier(images), labels).backward()
                optimizer.step()
        return classifier.eval()

    def _groups(self, classifier: Classifier) -> list[dict[str, object]]:
        """Parameter groups: layer decay below, the head's own multiple of the learning rate on top."""
        options = self.options
        groups = layer_decay_groups(
            classifier.encoder.backbone,
            classifier.head,
            weight_decay=options.weight_decay,
            layer_decay=options.layer_decay,
        )
        head = {id(parameter) for parameter in classifier.head.parameters()}
        for group in groups:
            if any(id(parameter) in head for parameter in group["params"]):
                group["lr_scale"] = options.head_lr
        return groups

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


def _batches(indices: np.ndarray, size: int, steps: int, *names: object) -> Iterator[np.ndarray]:
    """Batches of images: every image of the budget once, in a new order, before any comes again."""
    size = min(size, len(indices))
    per_epoch = len(indices) // size
    for step in range(steps):
        epoch, place = divmod(step, per_epoch)
        if place == 0:
            order = np.random.default_rng(named_seed(*names, "order", epoch)).permutation(indices)
        yield order[place * size : (place + 1) * size]
