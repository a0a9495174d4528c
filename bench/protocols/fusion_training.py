"""Joint heads that are trained: on kept features, or together with the partner, once per budget and draw."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.batches import to_float
from bench.methods.encoder import Encoder
from bench.protocols.base import Budget, Cell, Evaluation, Score, budgets
from bench.protocols.batches import batch_places
from bench.protocols.fusion_heads import JointHead, build_head
from bench.protocols.fusion_inputs import Kept, positions
from bench.protocols.imbalance import class_counts, loss, view
from bench.protocols.metrics import measure
from bench.protocols.rates import RateSelection
from bench.protocols.selection import resolve
from bench.seeds import named_seed
from bench.study.protocols import FusionOptions
from bench.study.protocols.fusion import Fuse
from bench.training.optim import adamw, cosine, parameter_groups, set_lr

BETAS = (0.9, 0.999)
_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Joined:
    """What is joined.

    Attributes:
        fuse: how.
        partner: the partner's kept features; of a partner in training, their statistics count alone.
        layer: kept features of what it is joined with; None for the partner alone.
        network: the partner itself, where it is trained; None where it is frozen.
    """

    fuse: Fuse
    partner: Kept
    layer: Kept | None
    network: Encoder | None


class Model(nn.Module):
    """A joint head, with the partner under it where that is trained."""

    def __init__(self, joined: Joined, head: JointHead, side: int) -> None:
        super().__init__()
        self.network = copy.deepcopy(joined.network)
        self.head = head
        self.joined = joined
        self.side = side

    def forward(self, indices: np.ndarray, images: Tensor | None) -> Tensor:
        """Logits [n, K] of images by their indices; `images` [n, C, H, W] are what a partner in training sees."""
        layer = None if self.joined.layer is None else self.joined.layer.read(indices)
        return self.head(self._partner(indices, images), layer)

    def _partner(self, indices: np.ndarray, images: Tensor | None) -> Tensor:
        if self.network is None or images is None:
            return self.joined.partner.read(indices)
        if self.joined.fuse == "cross_attention":
            features = positions(self.network.forward_layers(images, ["last"])["last"], self.side)
        else:
            features = self.network(images)[:, None]
        return self.joined.partner.standardise(features)


class Trainer(RateSelection[Model]):
    """The trained heads of one layer and fusion."""

    def __init__(self, evaluation: Evaluation, joined: Joined, extra: dict[str, Any]) -> None:
        self.evaluation, self.joined, self.extra = evaluation, joined, extra
        self.options = cast(FusionOptions, evaluation.options)
        self.splits = evaluation.dataset.splits
        self.images = evaluation.dataset.images.images
        self.device = evaluation.device
        self.n_classes = len(self.splits.class_names)

    def scores(self, cells: Sequence[Cell]) -> list[Score]:
        """Scores of the cells, all of one layer and fusion."""
        return [
            self._score(cell, indices, budget)
            for budget in budgets(self.evaluation.dataset, self.options, cells)
            for cell, indices in zip(budget.cells, budget.indices, strict=True)
        ]

    def _score(self, cell: Cell, indices: np.ndarray, budget: Budget) -> Score:
        rates, per_class = self.options.rates(), budget.labels_per_class(self.n_classes)
        selection = resolve(self.options.selection, per_class, len(rates))
        lr, outside = self._rate(
            selection,
            cell,
            indices,
            per_class=per_class,
            rates=rates,
            default=self.options.default_lr,
            folds=self.options.folds,
        )
        model = self._train(cell, indices, lr)
        test = self.splits.test
        measures = measure(self._probabilities(model, test)[None], self.splits.labels[test])
        added = 4 * sum(parameter.numel() for parameter in model.head.parameters())
        return Score(
            cell=cell,
            n_labels=len(indices),
            metrics={name: float(values[0]) for name, values in measures.metrics.items()},
            class_counts=measures.class_counts,
            class_correct=measures.class_correct[0],
            correct=measures.bitmap(0),
            selected={"lr": lr},
            n_candidates=1 if selection == "fixed" else len(rates),
            n_selection_labels=outside,
            selection=selection,
            extra={**self.extra, "bytes_added": self.extra["bytes_added"] + added},
        )

    def _train(self, cell: Cell, indices: np.ndarray, lr: float) -> Model:
        """A model trained on these images; the path depends on the cell's name alone."""
        options, labels = self.options, self.splits.labels[indices]
        counts = class_counts(labels, self.n_classes)
        steps = max(options.steps, options.epochs * math.ceil(len(indices) / options.batch_size))
        names = (self.evaluation.seed, "fusion", *cell)
        with torch.random.fork_rng(devices=[] if self.device == "cpu" else [torch.cuda.current_device()]):
            torch.manual_seed(named_seed(*names, "network"))  # heads, and networks with dropout, draw from it
            model = self._model()
            optimizer = adamw(parameter_groups(model, options.weight_decay), lr, BETAS)
            places = batch_places(labels, self.n_classes, options.batch_size, steps, options.imbalance, *names)
            for step, batch in enumerate(places):
                set_lr(optimizer, lr * cosine(step, steps, 0.0))
                images = self._view(indices[batch], labels[batch], counts, named_seed(*names, "step", step))
                targets = torch.as_tensor(labels[batch]).to(self.device)
                optimizer.zero_grad(set_to_none=True)
                loss(model(indices[batch], images), targets, options.imbalance, counts).backward()
                optimizer.step()
        return model.eval()

    def _model(self) -> Model:
        options, joined = self.options, self.joined
        layer = 0 if joined.layer is None else joined.layer.channels
        sizes = (joined.partner.channels, layer, options.width, self.n_classes)
        model = Model(joined, build_head(joined.fuse, options.head, *sizes), options.tokens)
        return model.to(self.device).train().requires_grad_(True)

    def _view(self, indices: np.ndarray, labels: np.ndarray, counts: np.ndarray, seed: int) -> Tensor | None:
        """What a partner in training sees, augmented; None where it is frozen."""
        if self.joined.network is None:
            return None
        images = to_float(self.images[indices], self.device)
        return view(images, labels, self.options.augmentation, seed, self.options.imbalance, counts)

    @torch.no_grad()
    def _probabilities(self, model: Model, indices: np.ndarray) -> np.ndarray:
        """Class probabilities, float64 [n, K]."""
        parts = []
        for start in range(0, len(indices), _EVALUATION_BATCH):
            some = indices[start : start + _EVALUATION_BATCH]
            images = None if self.joined.network is None else to_float(self.images[some], self.device)
            parts.append(torch.softmax(model(some, images).double(), 1))
        return torch.cat(parts).cpu().numpy()
