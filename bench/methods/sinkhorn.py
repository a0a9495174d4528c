"""Sinkhorn-Knopp: soft assignments of samples to prototypes that give every prototype the same share."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Codes of SwAV (arXiv 2006.09882, section 3.1): exp(scores / epsilon), its margins balanced in turn.

    Every iteration gives all prototypes the same total and then every sample a total of 1, so after the last one the
    samples' totals are exact and the prototypes' are near samples / prototypes. The balancing is done on logarithms:
    no epsilon is too small.

    Args:
        scores: float [samples, prototypes], of the global batch.
        epsilon: weight of the entropy; small ones give sharp codes.
        iterations: at least 1.

    Returns:
        float32 [samples, prototypes], the shares of each sample.
    """
    logs = scores.float() / epsilon
    for _ in range(iterations):
        logs = logs - logs.logsumexp(dim=0, keepdim=True)
        logs = logs - logs.logsumexp(dim=1, keepdim=True)
    return logs.exp()
