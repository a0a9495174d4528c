"""Stochastic depth of a network that was built without it (arXiv 1603.09382)."""

from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import nn

from bench.errors import UserError

_PLACES = ("drop_path", "drop_path1", "drop_path2")  # where timm's residual blocks keep it


def add_drop_path(backbone: nn.Module, rate: float) -> None:
    """Gives every residual block of a timm network its chance to be skipped, rising linearly from 0 to the rate.

    Args:
        backbone: changed in place.
        rate: chance of the last block, in [0, 1).

    Raises:
        UserError: the network has no residual blocks of timm's.
    """
    blocks = [part for part in backbone.modules() if any(hasattr(part, place) for place in _PLACES)]
    if not blocks:
        raise UserError(f"finetune.drop_path: {rate} asks for residual blocks, and the encoder has none; valid here: 0")
    for block, chance in zip(blocks, torch.linspace(0, rate, len(blocks)).tolist(), strict=True):
        for place in _PLACES:
            if hasattr(block, place):
                setattr(block, place, DropPath(chance) if chance else nn.Identity())
