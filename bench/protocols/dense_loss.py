"""Losses of segmentation, over the pixels that count."""

from __future__ import annotations

from typing import Literal

import torch
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor
from torch.nn import functional

from bench.data.raw import IGNORE

DenseLoss = Literal["ce", "dice", "ce_dice"]


def dense_loss(logits: Tensor, target: Tensor, kind: DenseLoss) -> Tensor:
    """The loss of a batch, a scalar; zero where no pixel counts.

    Args:
        logits: float [N, K, H, W].
        target: int64 [N, H, W], in 0..K-1, or 255 for pixels that count nowhere.
        kind: "ce", the mean cross-entropy of the pixels; "dice", the mean over the K classes of 1 - soft Dice over the
            batch, zero for those the batch does not show; "ce_dice", their sum (arXiv 2402.16164).
    """
    parts = []
    if kind != "dice":
        total = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum")
        parts.append(total / (target != IGNORE).sum().clamp_min(1))
    if kind != "ce":
        parts.append(DiceLoss("multiclass", ignore_index=IGNORE)(logits, target))
    return torch.stack(parts).sum()
