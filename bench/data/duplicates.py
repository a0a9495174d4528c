"""Exact duplicates: images with the same pixels."""

from __future__ import annotations

import numpy as np

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
    from scipy.sparse import coo_matrix  # a tenth of a second, which reopening a store need not wait for
    from scipy.sparse.csgraph import connected_components

    small = np.bincount(contents, minlength=len(contents))[contents] <= MAX_CLUSTER
    names, number = np.unique(groups, return_inverse=True)
    edges = (number[small], number[contents[small]])
    graph = coo_matrix((np.ones(int(small.sum()), np.int8), edges), shape=(len(names), len(names)))
    part = connected_components(graph, directed=False)[1]
    smallest = np.full(part.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, part, names)
    return np.asarray(smallest[part[number]])
