"""Correlation tokens: how alike every query patch and every support token are, in each head of each block.

arXiv 2307.03407, section 4.2. Tokens are half precision, [N, L, 1 + T, D]: of L blocks, the class token first.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def support_tokens(tokens: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The class token, and the patch tokens resampled to another grid; bilinear, corners on corners.

    Args:
        tokens: [N, L, 1 + rows * columns, D].
        grid: rows and columns of the patches.
        size: rows and columns of the result.

    Returns:
        [N, L, 1 + size[0] * size[1], D].
    """
    if grid == size:
        return tokens
    patches = tokens[:, :, 1:].flatten(0, 1).transpose(1, 2).unflatten(2, grid)
    resampled = functional.interpolate(patches, size, mode="bilinear", align_corners=True)
    return torch.cat([tokens[:, :, :1], resampled.flatten(2).transpose(1, 2).unflatten(0, tokens.shape[:2])], dim=2)


def correlate(query: Tensor, support: Tensor, heads: int) -> Tensor:
    """Cosines of query and support tokens, head by head.

    Args:
        query: patch tokens [N, L, T_q, D].
        support: [N, L, T_s, D].
        heads: of the encoder; they part D.

    Returns:
        [N, L * heads, T_q, T_s] in [-1, 1], the heads of a block beside each other.
    """
    left, right = _vectors(query, heads), _vectors(support, heads)
    return (left @ right.transpose(-2, -1)).flatten(1, 2)


def _vectors(tokens: Tensor, heads: int) -> Tensor:
    """Tokens as unit vectors of each head, [N, L, heads, T, d]."""
    return functional.normalize(tokens.unflatten(-1, (heads, -1)).transpose(2, 3), dim=-1)
