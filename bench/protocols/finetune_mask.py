"""Supervised self-masking, arXiv 2409.07577 section 3.2: a mask over a frozen encoder learns the budget with a head."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor
from torch.func import functional_call

from bench.methods.encoder import Encoder
from bench.methods.mask_codec import collect_mask, mask_bytes
from bench.methods.masks import Scores, batch_norms, masked_names
from bench.protocols.base import Evaluation, Score
from bench.protocols.finetune import Trainer, score_cells
from bench.protocols.recipe import Classifier, Recipe
from bench.study.protocols import FinetuneMaskOptions

MOMENTUM = 0.9


class MaskedClassifier(Classifier):
    """A frozen encoder seen through masks, under a linear head."""

    def __init__(
        self, encoder: Encoder, mean: Tensor, std: Tensor, n_classes: int, options: FinetuneMaskOptions
    ) -> None:
        super().__init__(encoder.requires_grad_(False), mean, std, n_classes)
        network = encoder.backbone
        self.scores = Scores(network, masked_names(network, options.masked, "finetune_mask.masked"))
        self.scale_gradient = options.scale_gradient
        self.frozen_statistics = options.running_statistics == "frozen"

    def train(self, mode: bool = True) -> MaskedClassifier:
        super().train(mode)
        if self.frozen_statistics:
            for norm in batch_norms(self.encoder):
                norm.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        weights = self.scores.weights(self.encoder.backbone, scale_gradient=self.scale_gradient)
        masked = {f"backbone.{name}": weight for name, weight in weights.items()}
        return self.head((functional_call(self.encoder, masked, (images,)) - self.mean) / self.std)


class MaskRecipe(Recipe):
    """Fine-tuning's, of scores instead of weights."""

    def _start(self) -> MaskedClassifier:
        options, encoder = cast(FinetuneMaskOptions, self.options), copy.deepcopy(self.encoder)
        return MaskedClassifier(encoder, self.mean, self.std, self.n_classes, options).to(self.device).train()

    def _optimizer(self, classifier: Classifier, lr: float) -> torch.optim.Optimizer:
        head = {"params": list(classifier.head.parameters()), "weight_decay": self.options.weight_decay}
        scores = {"params": list(cast(MaskedClassifier, classifier).scores.parameters()), "weight_decay": 0.0}
        return torch.optim.SGD([scores, head | {"lr_scale": self.options.head_lr}], lr=lr, momentum=MOMENTUM)


class MaskTrainer(Trainer):
    """Fine-tuning's, with what a deployment adds to a shared encoder: a mask file and a head."""

    recipe_type = MaskRecipe

    def _bytes(self, classifier: Classifier) -> int:
        masked = cast(MaskedClassifier, classifier)
        shared = dict(self.encoder.backbone.named_buffers())
        mask = collect_mask(masked.encoder.backbone, masked.scores.chosen(), shared, "")
        return len(mask_bytes(mask)) + 4 * sum(parameter.numel() for parameter in masked.head.parameters())


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells."""
    return score_cells(evaluation, MaskTrainer(evaluation))
