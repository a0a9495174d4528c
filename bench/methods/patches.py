"""An image as a sequence of patches, and tokens taken from a sequence by number."""

from __future__ import annotations

import torch
from torch import Tensor


def patchify(images: Tensor, patch: int) -> Tensor:
    """[N, C, H, W] -> [N, L, patch * patch * C], row by row, channel last inside a patch."""
    patches = images.unflatten(2, (-1, patch)).unflatten(4, (-1, patch))
    return torch.einsum("nchpwq->nhwpqc", patches).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of `patchify` for a grid of (rows, columns) patches."""
    images = patches.unflatten(1, grid).unflatten(3, (patch, patch, -1))
    return torch.einsum("nhwpqc->nchpwq", images).flatten(4).flatten(2, 3)


def take(tokens: Tensor, ids: Tensor) -> Tensor:
    """Tokens of each sample by number: [N, L, D] and [N, K] -> [N, K, D]."""
    return tokens.gather(1, ids.unsqueeze(2).expand(-1, -1, tokens.shape[2]))
