"""Task-specific pretraining with noisy labels, arXiv 2402.16164: segment corrupted masks, keep the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.data.dense_augment import flip_rotate
from bench.data.draws import Draws
from bench.data.label_noise import Realised, corrupt_masks, realised
from bench.data.raw import IGNORE
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.dense_head import DenseHead, save_head
from bench.methods.dense_losses import confident, cross_entropy, one_hot, smoothed, soft_dice
from bench.methods.encoder import build_encoder
from bench.study.methods import NoisyLabelsOptions

KEPT, RAMP = 0.5, 0.4  # share of the pixels that confidence selection ends with, share of the steps it takes to
# reddish, green, blue, yellow, violet, cyan, orange, brown, pink, grey; then over again
_COLOURS = (
    (0.84, 0.37, 0.30), (0.20, 0.63, 0.35), (0.25, 0.46, 0.80), (0.95, 0.85, 0.35), (0.55, 0.36, 0.70),
    (0.30, 0.78, 0.80), (0.96, 0.60, 0.20), (0.50, 0.33, 0.20), (0.95, 0.65, 0.80), (0.55, 0.55, 0.55),
)  # fmt: skip


class NoisyLabels(Method):
    """Cross-entropy + Dice on masks that were corrupted once, before the training."""

    needs_masks = True

    def __init__(
        self,
        options: NoisyLabelsOptions,
        shape: ImageShape,
        mean: Sequence[float],
        std: Sequence[float],
        n_classes: int,
    ) -> None:
        super().__init__(build_encoder(options.encoder, shape, mean, std, patch_size=options.patch_size))
        self.options, self.n_classes = options, n_classes
        self.head = DenseHead(self.backbone, n_classes)
        self.kept = 1.0  # share of each class's pixels that the loss counts
        self.noise: Realised | None = None

    def bind(self, masks: np.ndarray | None, pool: np.ndarray) -> None:
        if masks is None:
            raise UserError("noisy_labels: learns from masks, and the data set has none")
        clean = np.asarray(masks[pool])
        self.targets = self._corrupted(clean, pool)
        self.noise = realised(clean, self.targets, self.n_classes)

    def begin_step(self, step: int, steps: int, epoch: int) -> None:
        if self.options.handling == "confidence_selection":
            self.kept = 1 - (1 - KEPT) * min(1.0, step / (RAMP * steps))

    def loss(self, images: Tensor, draws: Draws, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As `Method.loss`; targets: int64 [N, H, W], the noisy masks of the images."""
        if self.options.augmentation == "flip_rotate":
            images, targets = flip_rotate(images, targets, draws)
        logits, workers = self.head(self.backbone, images).float(), draws.batch // draws.local
        with torch.autocast(images.device.type, enabled=False):
            if self.kept < 1:
                targets = confident(logits, targets, self.kept, workers)
            hard = one_hot(targets, self.n_classes)
            soft = smoothed(hard) if self.options.handling == "label_smoothing" else hard
            loss = cross_entropy(logits, soft, workers) + soft_dice(logits, hard, workers)
        return loss, {"agrees": (logits.detach().argmax(1) == targets).float().mean()}

    def save_extra(self, folder: Path) -> None:
        """The decoder, so that the network can be scored as it is (protocol as_is)."""
        save_head(self.head, self.n_classes, folder)

    def measurements(self) -> dict[str, float]:
        """Realised noise of the masks it learned from; confusion_A_B: share of the pixels of class A labelled B."""
        if self.noise is None:
            return {}
        shares = self.noise.confusion / np.maximum(1, self.noise.confusion.sum(1, keepdims=True))
        cells = {f"confusion_{a}_{b}": round(float(shares[a, b]), 5) for a, b in np.argwhere(shares > 0)}
        return {
            "realised_noise_rate": self.noise.pixel_rate,
            "information_loss": self.noise.information_loss,
        } | cells

    @torch.no_grad()
    def preview(self, images: Tensor, draws: Draws, masks: np.ndarray | None = None) -> dict[str, Tensor]:
        """Input, its mask, the mask as this noise would have it, and what the network makes of the input.

        Args:
            masks: uint8 [N, H, W], of the images; None: the two masks are left out.
        """
        pictures = {"input": images}
        if masks is not None:
            noisy = self._corrupted(masks, np.arange(len(masks)))
            pictures |= {"clean": _coloured(masks, images), "noisy": _coloured(noisy, images)}
        found = self.head(self.backbone, images).argmax(1).cpu().numpy()
        return pictures | {"prediction": _coloured(found, images)}

    def _corrupted(self, masks: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        options = self.options
        return corrupt_masks(
            masks,
            numbers,
            options.noise,
            options.rate,
            self.n_classes,
            options.noise_seed,
            clean_share=options.clean_share,
        )


def _coloured(masks: np.ndarray, images: Tensor) -> Tensor:
    """Masks in the shape of the images: red, green and blue in the first three channels; black where ignored."""
    channels = images.shape[1]
    colours = torch.tensor(_COLOURS)[torch.arange(IGNORE + 1) % len(_COLOURS)]
    colours[IGNORE] = 0
    wide = torch.nn.functional.pad(colours, (0, max(0, channels - 3)))[:, :channels]
    return wide[torch.from_numpy(masks.astype(np.int64))].movedim(-1, 1).to(images)
