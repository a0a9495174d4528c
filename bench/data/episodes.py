"""Episodes of few-shot learning: a query, N classes of which it shows 0 to N, and K support images of each.

Torch-free; an episode depends on its number and on the names of its stream alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from bench.seeds import named_seed


class Episode(NamedTuple):
    """One question.

    Attributes:
        query: index of the image into the store.
        query_class: a class the query shows, for which it was taken; among the ways with probability 1/2 for one way.
        classes: int64 [N], the ways, distinct.
        support: int64 [N, K], images that show each class; none is the query. K images of a way are all different.
        present: bool [N], whether the query shows each.
    """

    query: int
    query_class: int
    classes: np.ndarray
    support: np.ndarray
    present: np.ndarray


@dataclass(frozen=True)
class Episodes:
    """A stream of episodes, after arXiv 2307.03407.

    Episode i asks about query i mod n of the n pairs (image, class it shows), in an order of the stream. The ways are
    drawn without replacement, the query's class with probability 1/2, the others sharing the rest. The support of
    fewer shots is the beginning of that of more.

    Attributes:
        histograms: int64 [images, classes], pixels of each class in each image of the store.
        pool: int64, images that episodes are made of.
        classes: numbers of the classes that are asked about; two or more unless there is one only.
        ways: N.
        shots: K; every class needs K + 1 images of the pool.
        names: of the stream; equal names give equal episodes.
    """

    histograms: np.ndarray
    pool: np.ndarray
    classes: tuple[int, ...]
    ways: int
    shots: int
    names: tuple[object, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.ways <= len(self.classes):
            raise ValueError(f"{self.ways} ways of {len(self.classes)} classes")
        for label, images in self.showing.items():
            if len(images) <= self.shots:
                raise ValueError(f"{self.shots} shots of class {label}, which {len(images)} images show")

    @cached_property
    def showing(self) -> dict[int, np.ndarray]:
        """The images of the pool that show each class, by class."""
        return {label: self.pool[self.histograms[self.pool, label] > 0] for label in self.classes}

    @cached_property
    def pairs(self) -> np.ndarray:
        """Query image and class, int64 [n, 2], in the order in which they are asked about."""
        pairs = [(image, label) for label, images in self.showing.items() for image in images]
        order = np.random.default_rng(named_seed("queries", *self.names)).permutation(len(pairs))
        return np.array(pairs, np.int64)[order]

    def __getitem__(self, number: int) -> Episode:
        query, query_class = (int(value) for value in self.pairs[number % len(self.pairs)])
        numbers = np.random.default_rng(named_seed("episode", *self.names, number))
        classes = numbers.choice(self.classes, self.ways, replace=False, p=self._chances(query_class))
        pools = [self.showing[label][self.showing[label] != query] for label in classes]
        support = np.stack([numbers.permutation(pool)[: self.shots] for pool in pools])
        return Episode(query, query_class, classes, support, self.histograms[query, classes] > 0)

    def _chances(self, query_class: int) -> np.ndarray:
        if len(self.classes) == 1:
            return np.ones(1)
        others = 0.5 / (len(self.classes) - 1)
        return np.where(np.array(self.classes) == query_class, 0.5, others)


def stack(episodes: Sequence[Episode]) -> Episode:
    """Episodes of one form as one, with a first axis that counts them."""
    return Episode(*(np.stack([np.asarray(episode[part]) for episode in episodes]) for part in range(5)))
