"""Parameter groups, schedule and layer decay of AdamW."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

TOKENS = ("cls_token", "mask_token", "pos_embed", "reg_token")


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trainable parameters, decayed or exempt: biases, everything one-dimensional and tokens are exempt."""
    return param_groups_weight_decay(module, weight_decay, no_weight_decay_list=_tokens(module))


def layer_decay_groups(
    backbone: nn.Module, head: nn.Module, *, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Groups for fine-tuning: a layer's `lr_scale` is layer_decay to the number of layers above it, so the head's is 1.

    What counts as a layer is timm's to say: the final norm goes with the last block. Frozen parameters are left out.

    Args:
        backbone: of an encoder: a timm network or one that describes its depth as timm's do (`group_matcher`).
        head: what is trained on top.
        weight_decay: as in `parameter_groups`.
        layer_decay: MAE's recipe says 0.75; 1 for none.
    """
    below = param_groups_layer_decay(backbone, weight_decay, _tokens(backbone), layer_decay=layer_decay)
    above = [group | {"lr_scale": 1.0} for group in parameter_groups(head, weight_decay)]
    for group in below:
        group["lr_scale"] *= layer_decay  # timm counts from the backbone's own last layer
    return [*below, *above]


def adamw(groups: Iterable[Mapping[str, Any]], lr: float, betas: tuple[float, float]) -> torch.optim.AdamW:
    """AdamW, one kernel for all parameters."""
    return torch.optim.AdamW([dict(group) for group in groups], lr=lr, betas=betas, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the learning rate of every group, times the group's `lr_scale` where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def cosine(step: int, steps: int, warmup: float) -> float:
    """The learning rate of a step as a share of the peak: linear warm-up, then half a cosine to zero.

    Args:
        step: from 0.
        steps: of the whole training.
        warmup: share of the steps to warm up in; the last of them runs at the peak.
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _tokens(module: nn.Module) -> set[str]:
    return {name for name, _ in module.named_parameters() if name.rsplit(".", 1)[-1] in TOKENS}
