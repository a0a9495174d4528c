"""Images that hang together: by pairs, or by a name that they share."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


def clusters_of(pairs: np.ndarray, count: int) -> list[np.ndarray]:
    """What the pairs hang together to: index arrays of two images or more, each sorted, by their first image."""
    if not len(pairs):
        return []
    graph = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return groups_of(connected_components(graph, directed=False)[1])


def groups_of(names: np.ndarray) -> list[np.ndarray]:
    """Rows that share a name, where two or more do: index arrays, each sorted, by their first row."""
    number = np.unique(names, return_inverse=True)[1]
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(number))[:-1])
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))
