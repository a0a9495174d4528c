"""Random numbers for a batch: drawn for the whole batch, handed to the worker that holds the samples."""

from __future__ import annotations

import torch
from torch import Tensor


class Draws:
    """A stream of per-sample random numbers.

    Every call draws for the global batch from one generator and returns the rows of this worker, so that a sample gets
    the same numbers whether one worker trains or several. Equal seeds give equal numbers on equal kinds of device;
    the CPU and CUDA generators are different algorithms.
    """

    def __init__(
        self, seed: int, batch: int, rank: int = 0, world: int = 1, device: torch.device | str = "cpu"
    ) -> None:
        """Starts the stream.

        Args:
            seed: from `bench.seeds.named_seed`.
            batch: samples of the global batch, over all workers.
            rank: number of this worker, from 0.
            world: number of workers.
            device: where the numbers are drawn and stay.

        Raises:
            ValueError: the batch does not divide evenly among the workers, or there is no such worker.
        """
        if batch % world:
            raise ValueError(f"a global batch of {batch} does not divide among {world} workers")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not among {world} workers")
        self.device = torch.device(device)
        self.batch = batch
        self.local = batch // world
        self._rows = slice(rank * self.local, (rank + 1) * self.local)
        self._generator = torch.Generator(device=self.device).manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), float32 [batch // world, *shape]."""
        return torch.rand((self.batch, *shape), generator=self._generator, device=self.device)[self._rows]

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float32 [batch // world, *shape]."""
        return torch.randn((self.batch, *shape), generator=self._generator, device=self.device)[self._rows]
