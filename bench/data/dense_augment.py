"""Augmentation of images together with their masks: what moves pixels without mixing them."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.draws import Draws


def flip_rotate(images: Tensor, masks: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Each image and its mask mirrored in a way of their own: all eight symmetries of a square, four of a rectangle.

    Args:
        images: float [N, C, H, W].
        masks: [N, H, W], of any type.
        draws: for N samples on the images' device.

    Returns:
        Images and masks of the same shapes.
    """
    drawn = draws.uniform(3) < 0.5
    for number, axes in enumerate(((-1,), (-2,))):
        images = _where(drawn[:, number], images.flip(axes), images)
        masks = _where(drawn[:, number], masks.flip(axes), masks)
    if images.shape[-1] != images.shape[-2]:
        return images, masks
    return _where(drawn[:, 2], images.mT, images), _where(drawn[:, 2], masks.mT, masks)


def _where(chosen: Tensor, changed: Tensor, kept: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, *[1] * (kept.ndim - 1)), changed, kept)
