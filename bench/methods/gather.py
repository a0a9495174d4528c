"""Collecting the samples of all workers, with gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def gather(samples: Tensor, workers: int) -> Tensor:
    """The samples of all workers in order of rank: [n, ...] -> [n * workers, ...].

    Every worker's loss sends its gradient back to the samples' own worker, so that averaging the workers' losses
    and parameter gradients gives the loss and gradient of the global batch.
    """
    return samples if workers == 1 else _Gather.apply(samples, workers)


def rank_of(workers: int) -> int:
    """Number of this worker among them."""
    return 0 if workers == 1 else distributed.get_rank()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, samples: Tensor, workers: int) -> Tensor:
        ctx.workers = workers
        parts = [torch.empty_like(samples) for _ in range(workers)]
        distributed.all_gather(parts, samples.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total.chunk(ctx.workers)[rank_of(ctx.workers)], None
