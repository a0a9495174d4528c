"""Rotation prediction, arXiv 1803.07728: by which of four right angles was the image turned?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bench.data.augment import augment, find_policy
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.encoder import build_encoder
from bench.study.encoders import Family
from bench.study.methods import TrainedOptions

TURNS = 4  # 0, 90, 180 and 270 degrees


class RotationOptions(TrainedOptions):
    """Every image in all four orientations; a linear layer on the mean over the last map names the orientation."""

    name: ClassVar[str] = "rotation"
    version: ClassVar[int] = 1
    families: ClassVar[tuple[Family, ...]] = ("conv", "vit", "timm")
    paper: ClassVar[str] = "Gidaris et al., Unsupervised Representation Learning by Rotations, arXiv 1803.07728"
    implementation: ClassVar[str] = "bench_rotation:Rotation"

    encoder: str = Field("conv_nano", description="encoder preset, or timm/NAME")
    epochs: int = Field(20, ge=1, description="passes over the train pool")
    lr: float = Field(2e-3, gt=0, description="peak learning rate for this batch size")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW weight decay; biases, norms and tokens are exempt")
    augmentation: str = Field("crop", description="augmentation policy applied ahead of the turns; it must not turn")


class Rotation(Method):
    """Backbone, mean over the map, one linear layer, cross-entropy over the four turns (section 2.1)."""

    def __init__(
        self, options: RotationOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(build_encoder(options.encoder, shape, mean, std, patch_size=options.patch_size))
        self.policy = find_policy(options.augmentation)
        self.head = nn.Linear(self.backbone.layers[self.backbone.default_layer].channels, TURNS)

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        images = augment(images, self.policy, draws)
        answers = torch.arange(TURNS, device=images.device).repeat_interleave(len(images))
        logits = self.head(self.backbone(torch.cat([turned(images, turn) for turn in range(TURNS)]))).float()
        found = (logits.detach().argmax(dim=1) == answers).float().mean()
        return functional.cross_entropy(logits, answers), {"found": found}

    @torch.no_grad()
    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The image as it is, and as the network sees it in the other three orientations."""
        views = augment(images, self.policy, draws)
        return {"input": images} | {f"turned{90 * turn}": turned(views, turn) for turn in range(1, TURNS)}


def turned(images: Tensor, turn: int) -> Tensor:
    """The square at the centre of each image [N, C, H, W], turned by 90 degrees `turn` times, at the images' size."""
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = torch.rot90(images[..., top : top + side, left : left + side], turn, dims=(2, 3))
    return functional.interpolate(square, (height, width), mode="bilinear", align_corners=False)
