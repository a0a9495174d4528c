"""The head behind a row, fitted once more: rows hold scores only, and the same labels give the same head."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np
import torch

from bench.engine.winner.heads import Head, LinearHead, VoteHead
from bench.methods.encoder import Encoder
from bench.protocols import knn, nearest_centroid
from bench.protocols.base import Budget, Cell, Evaluation, Score, budgets
from bench.protocols.finetune import Trainer
from bench.protocols.nearest_centroid import class_means, direction_variance, unit
from bench.protocols.probe import fit_probes
from bench.protocols.recipe import Classifier
from bench.protocols.sgd_probe import fit_probes as train_probes
from bench.protocols.sgd_probe import probe_by_lars
from bench.protocols.solver import ABSENT
from bench.study.protocols import KnnOptions, LinearOptions, NearestCentroidOptions


class Refit(NamedTuple):
    """A head, its score on the test split by the protocol's own arithmetic, and the encoder if that was trained too."""

    score: Score
    head: Head
    encoder: Encoder | None = None


def linear(evaluation: Evaluation) -> Refit:
    """The linear probe of the one cell asked for, by the solver the options name."""
    options = cast(LinearOptions, evaluation.options)
    if options.solver == "lars":
        return _linear_by_lars(evaluation, options)
    dataset, layer = evaluation.dataset, evaluation.cells[0].layer
    features = evaluation.features.standardised(layer)
    (fitted,) = fit_probes(features, dataset, options, evaluation.cells, evaluation.device)
    (score,) = fitted.scores(features[dataset.splits.test], dataset, {})
    weight, bias = (tensor[0, 0].cpu() for tensor in (fitted.heads.weight, fitted.heads.bias))
    return Refit(score, LinearHead(*_standardisation(evaluation), weight, bias))


def _linear_by_lars(evaluation: Evaluation, options: LinearOptions) -> Refit:
    """Its batch norm takes the place of the standardisation."""
    dataset, (cell,), device = evaluation.dataset, evaluation.cells, evaluation.device
    features = evaluation.features.layer(cell.layer)
    (score,) = probe_by_lars(features, dataset, options, [cell], {}, evaluation.seed, device)
    known = _budget(evaluation).indices[0]
    names = (evaluation.seed, "linear", cell.label_budget, cell.draw)
    inputs = torch.from_numpy(np.asarray(features[known], dtype=np.float32)).to(device)
    splits = dataset.splits
    probes = train_probes(
        inputs, splits.labels[known], len(splits.class_names), [score.selected["lr"]], options, *names
    ).cpu()
    norm, head = probes.norm, cast(torch.nn.Linear, probes.heads[0])
    scale = (cast(torch.Tensor, norm.running_var).double() + norm.eps).rsqrt()
    return Refit(
        score, LinearHead(cast(torch.Tensor, norm.running_mean), scale, head.weight.detach().mT, head.bias.detach())
    )


def centroids(evaluation: Evaluation) -> Refit:
    """The nearest centroid as a linear map: |x|^2 is the same for every class and leaves with the softmax."""
    options = cast(NearestCentroidOptions, evaluation.options)
    (score,), budget, splits = nearest_centroid.run(evaluation), _budget(evaluation), evaluation.dataset.splits
    points = evaluation.features.standardised(evaluation.cells[0].layer).astype(np.float64)
    cosine, n_classes = options.distance == "cosine", len(splits.class_names)
    points = unit(points) if cosine else points
    means = class_means(points[budget.indices], splits.labels[budget.indices], n_classes)[0]
    means = unit(means) if cosine else means
    per_class = budget.indices.shape[1] / n_classes
    variance = direction_variance(points[splits.train]) * (1 + 1 / per_class)
    bias = np.where(np.isnan(means[:, 0]), ABSENT, -np.square(means).sum(1) / 2 / variance)
    weight = torch.from_numpy(np.nan_to_num(means).T / variance)
    return Refit(score, LinearHead(*_standardisation(evaluation), weight, torch.from_numpy(bias), cosine))


def votes(evaluation: Evaluation) -> Refit:
    """k-NN: the features of the budget's images, in the order of the image store, and the k that was selected."""
    options = cast(KnnOptions, evaluation.options)
    (score,), splits = knn.run(evaluation), evaluation.dataset.splits
    known = np.sort(_budget(evaluation).indices[0])
    bank = evaluation.features.standardised(evaluation.cells[0].layer)[known]
    labels, k = torch.from_numpy(splits.labels[known]), min(int(score.selected["k"]), len(known))
    cosine = options.distance == "cosine"
    head = VoteHead(*_standardisation(evaluation), torch.from_numpy(bank), labels, k, len(splits.class_names), cosine)
    return Refit(score, head)


class _Keeping(Trainer):
    """Keeps what it trained last: what `score` reads the test split with, after the selection."""

    trained: Classifier

    def _train(self, cell: Cell, indices: np.ndarray, lr: float) -> Classifier:
        self.trained = super()._train(cell, indices, lr)
        return self.trained


def tuned(evaluation: Evaluation) -> Refit:
    """Fine-tuning: the encoder and its head, trained once more on the budget."""
    trainer, budget = _Keeping(evaluation), _budget(evaluation)
    score = trainer.score(evaluation.cells[0], budget.indices[0], budget)
    made = trainer.trained.cpu().eval().requires_grad_(False)
    mean, std = cast(torch.Tensor, made.mean), cast(torch.Tensor, made.std)
    head = LinearHead(mean, 1 / std.double(), made.head.weight.mT, made.head.bias, rounded=False)
    return Refit(score, head, made.encoder)


REFITS: dict[str, Callable[[Evaluation], Refit]] = {
    "linear": linear,
    "nearest_centroid": centroids,
    "knn": votes,
    "finetune": tuned,
}


def _budget(evaluation: Evaluation) -> Budget:
    (budget,) = budgets(evaluation.dataset, evaluation.options, evaluation.cells)
    return budget


def _standardisation(evaluation: Evaluation) -> tuple[torch.Tensor, torch.Tensor]:
    mean, scale = evaluation.features.statistics(evaluation.cells[0].layer)
    return torch.from_numpy(mean), torch.from_numpy(scale)
