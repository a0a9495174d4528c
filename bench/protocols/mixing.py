"""What MAE's fine-tuning does to a batch beyond crops: RandAugment, random erasing, mixup and cutmix (table 9).

The paper's "rand-m9-mstd0.5-inc1" is timm's policy on PIL images. torchvision's, used here, works on tensors: its
magnitudes are read on the same scale of ten, but it applies both operations to every image (timm: each with chance 0.5)
and at the one magnitude (timm: normal around it, with a standard deviation of 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2

from bench.errors import UserError
from bench.study.protocols.finetune import FinetuneOptions

OPERATIONS = 2
STEPS = 10  # magnitudes from nothing to the most
ERASED_AREA, ERASED_ASPECT = (0.02, 1 / 3), (0.3, 1 / 0.3)  # arXiv 1708.04896


class Mixing:
    """The transforms that the options turn on; nothing is drawn where none is."""

    def __init__(self, options: FinetuneOptions, n_classes: int, mean: Sequence[float], std: Sequence[float]) -> None:
        """Builds the transforms.

        Args:
            options: rand_augment, erase, mixup and cutmix.
            n_classes: K.
            mean: of the images, one per channel, in [0, 1] units.
            std: of the images, one per channel.

        Raises:
            UserError: RandAugment is asked for on images that are neither grey nor coloured.
        """
        channels = len(mean)
        self.mean, self.std = (torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (mean, std))
        self.per_image: list[v2.Transform] = []
        if options.rand_augment is not None:
            if channels not in (1, 3):
                raise UserError(f"finetune.rand_augment: needs images of 1 or 3 channels, these have {channels}")
            self.per_image.append(
                v2.RandAugment(OPERATIONS, options.rand_augment, STEPS + 1, v2.InterpolationMode.BILINEAR, list(mean))
            )
        self.erase = v2.RandomErasing(options.erase, ERASED_AREA, ERASED_ASPECT, "random") if options.erase else None
        strengths = ((v2.MixUp, options.mixup), (v2.CutMix, options.cutmix))
        self.per_batch = [mix(alpha=alpha, num_classes=n_classes) for mix, alpha in strengths if alpha]

    @property
    def active(self) -> bool:
        """Whether anything is turned on."""
        return bool(self.per_image or self.erase or self.per_batch)

    def __call__(self, images: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """A disturbed batch and its targets.

        Args:
            images: float [N, C, H, W] in [0, 1].
            labels: int64 [N].
            seed: names everything that is drawn.

        Returns:
            Images of the same shape, and the labels, or float [N, K] shares of the classes under mixup and cutmix:
            every batch is mixed, with the one or the other at even odds where both are on.
        """
        if not self.active:
            return images, labels
        devices = [images.device] if images.is_cuda else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            images = self._each(images)
            if self.per_batch:
                images, labels = v2.RandomChoice(self.per_batch)(images, labels)
        return images, labels

    def _each(self, images: Tensor) -> Tensor:
        """Every image by itself; erased pixels are standard normal noise in the units of normalised images."""
        for transform in self.per_image:
            images = torch.stack([transform(image) for image in images])
        if self.erase is None:
            return images
        mean, std = self.mean.to(images.device), self.std.to(images.device)
        return torch.stack([self.erase((image - mean) / std) for image in images]) * std + mean
