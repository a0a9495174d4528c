"""What a worker needs to find the study's ground: where results lie, which images, what it may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.store.mirror import open_place, place_of
from bench.study.spec import DataSpec, Resources

if TYPE_CHECKING:  # a site travels through processes that open no images
    from bench.data.catalog import Dataset


@dataclass(frozen=True)
class Site:
    """Sent with every task: the results root, the data and resources of one pretraining, and the live loggers.

    Where the results lie at an address, it is the address that travels: every node has a folder of its own for it.
    """

    root: Path
    data: DataSpec
    resources: Resources
    loggers: tuple[str, ...] = ()

    def __reduce__(self) -> tuple[Callable[..., Site], tuple[str, DataSpec, Resources, tuple[str, ...]]]:
        return _arrived, (place_of(self.root), self.data, self.resources, self.loggers)

    @property
    def device(self) -> str:
        """`cuda` where the study asks for GPUs and this process was given one, else `cpu`."""
        if not self.resources.gpus_per_worker:
            return "cpu"
        import torch  # a site travels through processes that do not load PyTorch, or not yet

        return "cuda" if torch.cuda.is_available() else "cpu"

    def dataset(self) -> Dataset:
        """The study's images, opened once per process."""
        return _open(self.data, self.root)

    def settle(self) -> None:
        """Gives torch the threads this worker was given: the number changes sums, so it is part of the keys."""
        import torch

        torch.set_num_threads(self.resources.cpus_per_worker)


def _arrived(place: str, data: DataSpec, resources: Resources, loggers: tuple[str, ...]) -> Site:
    return Site(open_place(place, fresh=False), data, resources, loggers)


@lru_cache(maxsize=2)
def _open(data: DataSpec, root: Path) -> Dataset:
    from bench.data.catalog import open_dataset

    return open_dataset(data, root)
