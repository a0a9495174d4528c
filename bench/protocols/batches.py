"""Which labelled images a step of a training protocol sees."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from bench.protocols.imbalance import epoch_order
from bench.seeds import named_seed
from bench.study.protocols.imbalance import Remedy


def batch_places(
    labels: np.ndarray, n_classes: int, size: int, steps: int, remedy: Remedy, *names: object
) -> Iterator[np.ndarray]:
    """Places of the images of each batch among the labels, int64 [min(size, n)]; one batch a step.

    Every image comes once, in an order the names decide, before any comes again (unless the remedy samples otherwise);
    an epoch's last images are left out where they do not fill a batch.

    Args:
        labels: int64 [n], of the images that may be seen.
        n_classes: K.
        size: images a step; never more than there are.
        steps: number of batches.
        remedy: of class imbalance.
        names: of the order.
    """
    size = min(size, len(labels))
    per_epoch = len(labels) // size
    for step in range(steps):
        epoch, place = divmod(step, per_epoch)
        if place == 0:
            generator = np.random.default_rng(named_seed(*names, "order", epoch))
            order = epoch_order(labels, n_classes, remedy, generator)
        yield order[place * size : (place + 1) * size]


def step_count(images: int, size: int, epochs: int, steps: int) -> int:
    """Steps of a training that takes at least so many epochs and at least so many steps."""
    return max(steps, epochs * math.ceil(images / size))
