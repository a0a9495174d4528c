"""Duplicates: which images a split holds together because their pixels are the same, or because they show the same."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bench.store.datasets import Duplicates

MAX_CLUSTER = 20  # identical images that a split holds together; a larger cluster is no object but a blank


def first_of_content(digests: np.ndarray) -> np.ndarray:
    """For each row of uint8 [N, 32], the number of the first row equal to it: int64 [N]."""
    _, first, inverse = np.unique(digests.view("S32").ravel(), return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)


def clusters(contents: np.ndarray) -> np.ndarray:
    """Groups of identical images, cut into pieces of at most MAX_CLUSTER, each named by its first image: int64 [N]."""
    order = np.argsort(contents, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(contents[order]) != 0])
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    groups = np.empty(len(order), np.int64)
    groups[order] = order[np.arange(len(order)) - rank % MAX_CLUSTER]
    return groups


def join_groups(groups: np.ndarray, contents: np.ndarray) -> np.ndarray:
    """Given groups, those that share an image made one, which has the smallest of their numbers: int64 [N].

    Clusters of more than MAX_CLUSTER identical images are blanks and join nothing: what is held out is dropped from the
    train pool in any case. Where no groups share an image, they stay as they are.

    Args:
        groups: int64 [N], as the data set gives them.
        contents: int64 [N], from `first_of_content`.
    """
    small = np.bincount(contents, minlength=len(contents))[contents] <= MAX_CLUSTER
    return _linked(groups, np.where(small, contents, np.arange(len(contents))))


class Together(NamedTuple):
    """What a split holds together where near duplicates count.

    Attributes:
        groups: int64 [N], those given, joined where their images show the same.
        apart: bool [N], near duplicates that nothing was joined for: too many images hang together.
        counts: how many there are of both.
    """

    groups: np.ndarray
    apart: np.ndarray
    counts: Duplicates


def keep_near(groups: np.ndarray, near: np.ndarray) -> Together:
    """Groups joined by images that show the same, where that does not weld a large part of the data together.

    Alike images chain: the first is like the second, that one like the third. A cluster of more than `most_together`
    images is rather a kind of image than one image, and joins nothing. Nor do clusters that would join several groups
    to more than a tenth of all images.

    Args:
        groups: int64 [N], what stays together in any case.
        near: int64 [N], cluster of each image, from `bench.data.near.near_clusters`.
    """
    count, most = len(near), most_together(len(near))
    alone = np.arange(count)
    sizes = np.bincount(near, minlength=count)[near]
    joined = _linked(groups, np.where(sizes <= most, near, alone))
    welded = (_sizes(joined) > max(most, count // 10)) & (_sizes(joined) > _sizes(groups))
    loose = (sizes > most) | np.isin(near, near[welded])
    joined = _linked(groups, np.where(loose, alone, near))
    spread = loose & (_groups_of(near, joined) > 1)
    kept = (sizes > 1) & ~spread
    counts = Duplicates(*_counted(near[kept]), *_counted(near[spread]))
    return Together(joined, spread, counts)


def within_splits(near: np.ndarray, official: np.ndarray | None) -> np.ndarray:
    """The clusters cut where the given splits part them: what lies on two sides of those is held together by none."""
    if official is None:
        return near
    pairs = np.stack([near, official.astype(np.int64)])
    _, first, inverse = np.unique(pairs, axis=1, return_index=True, return_inverse=True)
    return np.asarray(first[inverse.reshape(-1)])


def most_together(count: int) -> int:
    """Largest cluster of near duplicates that a split of so many images holds together: 1 %, but 20 where it may."""
    return max(2, min(MAX_CLUSTER, count // 10), count // 100)


def _sizes(names: np.ndarray) -> np.ndarray:
    """How many images have the name that each has: int64 [N]."""
    number = np.unique(names, return_inverse=True)[1]
    return np.asarray(np.bincount(number)[number])


def _groups_of(near: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """In how many groups the cluster of each image lies: int64 [N]."""
    pairs = np.unique(np.stack([near, groups]), axis=1)
    return np.asarray(np.bincount(pairs[0], minlength=len(near))[near])


def _counted(names: np.ndarray) -> tuple[int, int]:
    return len(names), len(np.unique(names))


def _linked(groups: np.ndarray, links: np.ndarray) -> np.ndarray:
    """Groups made one where their images share a link, which is the number of an image: int64 [N]."""
    from scipy.sparse import coo_matrix  # a tenth of a second, which reopening a store need not wait for
    from scipy.sparse.csgraph import connected_components

    names, number = np.unique(groups, return_inverse=True)
    edges = (number, number[links])
    graph = coo_matrix((np.ones(len(links), np.int8), edges), shape=(len(names), len(names)))
    part = connected_components(graph, directed=False)[1]
    smallest = np.full(part.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, part, names)
    return np.asarray(smallest[part[number]])
