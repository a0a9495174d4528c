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
