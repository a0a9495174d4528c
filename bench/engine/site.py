"""What a worker needs to find the study's ground: where results lie, which images, what it may use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from bench.data.catalog import Dataset, open_dataset
from bench.study.spec import DataSpec, Resources


@dataclass(frozen=True)
class Site:
    """Sent with every task: the results root, the data and the resources of one pretraining."""

    root: Path
    data: DataSpec
    resources: Resources

    @property
    def device(self) -> str:
        """`cuda` where the study asks for GPUs and this process was given one, else `cpu`."""
        return "cuda" if self.resources.gpus_per_worker and torch.cuda.is_available() else "cpu"

    def dataset(self) -> Dataset:
        """The study's images, opened once per process."""
        return _open(self.data, self.root)

    def settle(self) -> None:
        """Gives torch the threads this worker was given: the number changes sums, so it is part of the keys."""
        torch.set_num_threads(self.resources.cpus_per_worker)


@lru_cache(maxsize=2)
def _open(data: DataSpec, root: Path) -> Dataset:
    return open_dataset(data, root)
