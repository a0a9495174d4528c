"""One fine-tuning: a copy of the encoder under a new head, trained on some images by the options' recipe."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols import imbalance
from bench.protocols.batches import batch_places, step_count
from bench.protocols.drop_path import add_drop_path
from bench.protocols.mixing import Mixing
from bench.protocols.partial import freeze_below, last_blocks
from bench.seeds import named_seed
from bench.study.protocols.finetune import HARD_LABELS, FinetuneOptions
from bench.training.optim import adamw, cosine, layer_decay_groups, merged, set_lr


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


class Recipe:
    """What every training of an evaluation shares: images, options, and the encoder they all start from."""

    def __init__(
        self, dataset: Dataset, encoder: Encoder, mean: Tensor, std: Tensor, options: FinetuneOptions, device: str
    ) -> None:
        """Looks at the encoder once.

        Args:
            dataset: images and labels.
            encoder: on the device; it is copied, never changed.
            mean: of its features [D].
            std: of its features [D].
            options: the recipe.
            device: "cpu" or "cuda".

        Raises:
            UserError: the encoder or the images cannot be treated as the options ask.
        """
        self.images, self.labels = dataset.images.images, dataset.splits.labels
        self.n_classes = len(dataset.splits.class_names)
        self.encoder, self.mean, self.std = encoder, mean, std
        self.options, self.device = options, device
        self.mixing = Mixing(options, self.n_classes, dataset.mean.tolist(), dataset.std.tolist())
        if options.last_blocks is not None:
            whole = copy.deepcopy(encoder).eval().requires_grad_(True)
            self.trained = last_blocks(whole, options.last_blocks)

    def train(self, indices: np.ndarray, lr: float, *names: object) -> Classifier:
        """A classifier trained on some images, in evaluation mode.

        Args:
            indices: int64 [n], numbers of the images.
            lr: peak learning rate.
            names: every random number is named by these alone.
        """
        options = self.options
        classifier = self._start()
        optimizer = self._optimizer(classifier, lr)
        average = averaged(classifier, options.ema) if options.ema else None
        steps = step_count(len(indices), options.batch_size, options.epochs, options.steps)
        labels = self.labels[indices]
        counts = imbalance.class_counts(labels, self.n_classes)
        batches = batch_places(labels, self.n_classes, options.batch_size, steps, options.imbalance, *names)
        with torch.random.fork_rng(devices=[] if self.device == "cpu" else [torch.cuda.current_device()]):
            torch.manual_seed(named_seed(*names, "network"))  # networks with dropout draw from the global generator
            for step, places in enumerate(batches):
                set_lr(optimizer, lr * cosine(step, steps, options.warmup))
                images, targets = self._batch(indices[places], counts, step, *names)
                optimizer.zero_grad(set_to_none=True)
                self._loss(classifier(images), targets, counts).backward()
                optimizer.step()
                if average is not None:
                    average.update_parameters(classifier)
        return (classifier if average is None else average.module).eval()

    def _start(self) -> Classifier:
        """The untrained classifier, in training mode where it trains."""
        classifier = Classifier(copy.deepcopy(self.encoder), self.mean, self.std, self.n_classes).to(self.device)
        classifier.train().requires_grad_(True)
        if self.options.drop_path:
            add_drop_path(classifier.encoder.backbone.train(), self.options.drop_path)
        if self.options.last_blocks is not None:
            freeze_below(classifier.encoder.backbone, self.trained)
        return classifier

    def _batch(self, indices: np.ndarray, counts: np.ndarray, step: int, *names: object) -> tuple[Tensor, Tensor]:
        """Augmented images [N, C, H, W] and their targets, int64 [N] or float [N, K]."""
        options, labels = self.options, self.labels[indices]
        images = to_float(self.images[indices], self.device)
        seed = named_seed(*names, "step", step)
        images = imbalance.view(images, labels, options.augmentation, seed, options.imbalance, counts)
        return self.mixing(images, torch.tensor(labels).to(self.device), named_seed(*names, "mixing", step))

    def _loss(self, logits: Tensor, targets: Tensor, counts: np.ndarray) -> Tensor:
        options = self.options
        if options.imbalance in HARD_LABELS:
            return imbalance.loss(logits, targets, options.imbalance, counts)
        return nn.functional.cross_entropy(logits, targets, label_smoothing=options.label_smoothing)

    def _optimizer(self, classifier: Classifier, lr: float) -> torch.optim.Optimizer:
        return adamw(self._groups(classifier), lr, self.options.betas)

    def _groups(self, classifier: Classifier) -> list[dict[str, Any]]:
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
        return merged(groups)


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """A running average of a network's weights; its buffers are the network's own.

    At update t the decay is (1 + t) / (10 + t) where that is less, so that short trainings forget the start.
    """

    def update(averages: Any, weights: Any, count: Tensor | int) -> None:
        t = int(count)
        average: Callable[..., None] = get_ema_multi_avg_fn(min(decay, (1 + t) / (10 + t)))
        average(averages, weights, count)

    return AveragedModel(network, multi_avg_fn=update)
