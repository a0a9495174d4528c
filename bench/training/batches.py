"""Which images a step sees: a permutation of the pool per epoch, a slice of it per step and worker."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bench.data.batches import to_float
from bench.errors import UserError
from bench.seeds import named_seed

RESIDENT_BYTES = 2**31  # pools up to this size are kept as bytes on the device, larger ones read batch by batch


class Batches:
    """The batches of a pretraining by step; they depend on the seed and the step, not on the number of workers."""

    def __init__(
        self,
        images: np.ndarray,
        pool: np.ndarray,
        batch_size: int,
        seed: int,
        *,
        targets: np.ndarray | None = None,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        """Prepares the pool.

        Args:
            images: uint8 [N, H, W, C].
            pool: int64 [P], numbers of the images that may be seen.
            batch_size: of the global batch.
            seed: of the order.
            targets: uint8 [P, H, W], what is to be learned of each image of the pool; None: nothing but images.
            rank: number of this worker.
            world: number of workers.
            device: where the batches go.

        Raises:
            UserError: the batch is larger than the pool, or does not divide among the workers.
        """
        if batch_size > len(pool):
            raise UserError(f"batch_size: {batch_size} is larger than the train pool of {len(pool)} images")
        if batch_size % world:
            raise UserError(f"batch_size: {batch_size} does not divide among {world} workers")
        self.images, self.pool, self.batch_size, self.seed, self.device = images, pool, batch_size, seed, device
        self._targets = None if targets is None else torch.from_numpy(targets).to(device)
        self.per_epoch = len(pool) // batch_size
        self.local = batch_size // world
        self._offset = rank * self.local
        self._epoch: tuple[int, np.ndarray] | None = None

    def __getitem__(self, step: int) -> Tensor:
        """This worker's part of the step's batch: float32 [batch_size / world, C, H, W] in [0, 1]."""
        rows = self._rows(step)
        if self._resident is not None:
            return to_float(self._resident[torch.from_numpy(rows).to(self.device)], self.device)
        return to_float(self.images[self.pool[rows]], self.device)

    def targets(self, step: int) -> tuple[Tensor, ...]:
        """What is to be learned of that part of the batch: int64 [batch_size / world, H, W], or nothing."""
        if self._targets is None:
            return ()
        return (self._targets[torch.from_numpy(self._rows(step)).to(self.device)].long(),)

    def _rows(self, step: int) -> np.ndarray:
        """The pool's rows in this worker's part of the step's batch, int64 [batch_size / world]."""
        epoch, place = divmod(step, self.per_epoch)
        start = place * self.batch_size + self._offset
        return self._order(epoch)[start : start + self.local]

    def _order(self, epoch: int) -> np.ndarray:
        """The epoch's permutation of the pool's rows, int64 [P]."""
        if self._epoch is None or self._epoch[0] != epoch:
            order = np.random.default_rng(named_seed(self.seed, "order", epoch)).permutation(len(self.pool))
            self._epoch = epoch, order
        return self._epoch[1]

    @cached_property
    def _resident(self) -> Tensor | None:
        """The pool as bytes on the device, uint8 [P, H, W, C], where it is small enough."""
        if len(self.pool) * self.images[0].nbytes > RESIDENT_BYTES:
            return None
        return torch.from_numpy(self.images[self.pool]).to(self.device)
