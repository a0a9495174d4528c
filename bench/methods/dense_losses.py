"""Losses of segmentation on noisy masks, over the global batch whatever the number of workers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2.functional import gaussian_blur

from bench.data.raw import IGNORE
from bench.methods.gather import gather

AROUND, UNIFORM = 0.15, 0.05  # weights of a smoothed label's parts (CromSS), the label itself has the rest
SIGMA, KERNEL = 3.0, 13  # pixels
_LEAST = 1e-7  # of a denominator


def one_hot(target: Tensor, n_classes: int) -> Tensor:
    """float32 [N, K, H, W] of classes [N, H, W]; zero at ignored pixels."""
    known = target != IGNORE
    return functional.one_hot(target * known, n_classes).movedim(-1, 1) * known.unsqueeze(1).float()


def smoothed(label: Tensor) -> Tensor:
    """Soft labels: 0.8 of the label, 0.15 of how often each class occurs around (Gaussian, 3 pixels), 0.05 uniform.

    Args:
        label: as `one_hot` gives it.

    Returns:
        float32 [N, K, H, W], summing to 1 over the classes at pixels that are not ignored, to 0 at the others.
    """
    known = label.sum(1, keepdim=True)
    size = min(KERNEL, 2 * min(label.shape[-2:]) - 1)
    around = gaussian_blur(label, [size, size], [SIGMA, SIGMA])
    prior = around / around.sum(1, keepdim=True).clamp_min(_LEAST)
    return known * ((1 - AROUND - UNIFORM) * label + AROUND * prior + UNIFORM / label.shape[1])


def cross_entropy(logits: Tensor, label: Tensor, workers: int) -> Tensor:
    """The mean over the pixels that count, zero where none does.

    The average over the workers is that of the global batch.

    Args:
        logits: float32 [N, K, H, W], of this worker.
        label: float32 [N, K, H, W], hard or soft; zero at ignored pixels.
        workers: number of workers.
    """
    total = -(label * functional.log_softmax(logits, dim=1)).sum()
    counted = (label.sum(1) > 0).sum().float()
    return workers * total / gather(counted.view(1), workers).sum().clamp_min(1)


def soft_dice(logits: Tensor, label: Tensor, workers: int) -> Tensor:
    """The mean over the K classes of 1 - soft Dice of the global batch; 0 for those it does not show.

    Args:
        logits: float32 [N, K, H, W], of this worker.
        label: hard, as `one_hot` gives it.
        workers: number of workers.
    """
    chance = logits.softmax(1) * label.sum(1, keepdim=True)
    sums = torch.stack([(each).sum((0, 2, 3)) for each in (chance * label, chance, label)])
    both, guessed, true = gather(sums.unsqueeze(0), workers).sum(0)
    return ((1 - 2 * both / (guessed + true).clamp_min(_LEAST)) * (true > 0)).mean()


@torch.no_grad()
def confident(logits: Tensor, target: Tensor, share: float, workers: int) -> Tensor:
    """The labels of which the network is surest, the others ignored: the same share of each class of the global batch.

    Args:
        logits: float32 [N, K, H, W], of this worker.
        target: int64 [N, H, W], classes or 255.
        share: to keep, in (0, 1]; rounded up to whole pixels.
        workers: number of workers.

    Returns:
        int64 [N, H, W].
    """
    known = target != IGNORE
    sureness = logits.softmax(1).gather(1, (target * known).unsqueeze(1)).squeeze(1)
    everyone, labels = gather(sureness, workers), gather(target, workers)
    least = torch.zeros(logits.shape[1], device=logits.device)
    for label in range(logits.shape[1]):
        values = everyone[labels == label]
        if len(values):
            least[label] = values.topk(math.ceil(share * len(values))).values[-1]
    return torch.where(sureness >= least[target * known], target, IGNORE)
