"""What the U-Net autoencoders share, arXiv 2410.19899: restore the clean image from a corrupted one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bench.data.augment import augment, find_policy
from bench.data.corrupt import add_noise, add_uint8_noise
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.encoder import build_encoder
from bench.study.encoders import check_patch, common_divisor_near
from bench.study.methods import MaskOptions, UnetOptions

NOISES: dict[str, Callable[[Tensor, float, Draws], Tensor]] = {"gaussian": add_noise, "uint8": add_uint8_noise}


class Restore(Method):
    """Mean squared error over the whole image, in [0, 1] units; a method says how the image is corrupted."""

    batch_independent = True

    def __init__(self, options: UnetOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(build_encoder(options.encoder, shape, mean, std, skip=options.skip))
        self.policy = find_policy(options.augmentation)

    def corrupt(self, images: Tensor, draws: Draws) -> Tensor:
        """The images as the network sees them, [N, C, H, W]."""
        raise NotImplementedError

    def loss(self, images: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        clean = augment(images, self.policy, draws).contiguous(memory_format=torch.channels_last)
        restored = self.backbone.backbone(self.corrupt(clean, draws))
        return functional.mse_loss(restored.float(), clean), {}

    @torch.no_grad()
    def preview(self, images: Tensor, draws: Draws) -> dict[str, Tensor]:
        clean = augment(images, self.policy, draws)
        corrupted = self.corrupt(clean, draws)
        restored = self.backbone.backbone(corrupted).float()
        return {"input": clean, "corrupted": corrupted.clamp(0, 1), "reconstruction": restored.clamp(0, 1)}


def patch_side(options: MaskOptions, shape: ImageShape) -> int:
    """The side of a black patch in pixels; by default about an eighth of the short side: 2 on 8 x 8, 4 on 32 x 32.

    Raises:
        UserError: the side asked for does not divide the image.
    """
    if options.patch is None:
        return common_divisor_near(shape.height, shape.width, max(2.0, min(shape.height, shape.width) / 8))
    check_patch(f"{options.name}.patch", options.patch, shape.height, shape.width)
    return options.patch
