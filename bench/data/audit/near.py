"""Near duplicates: images whose perceptual hashes differ in few bits and whose small copies look alike."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

BITS = 64
FAR = 6  # differing bits up to which two hashes are close
ALIKE = 0.98  # correlation of two small grey copies from which the images show the same; brightness plays no part
_FLAT = 1.0  # standard deviation of grey values below which an image shows nothing that could be compared
_BLOCK = 1 << 22  # pairs compared at once


def close_pairs(hashes: np.ndarray, far: int = FAR) -> np.ndarray:
    """Every pair of hashes that differ in at most `far` bits: int64 [pairs, 2], first < second, sorted.

    Of far + 1 bands of bits, two such hashes agree in one at least, so that only hashes that share a band are compared:
    none is missed. Equal hashes are compared once for all their images.

    Args:
        hashes: uint64 [N].
        far: most bits that may differ, 0 to 63.
    """
    values, inverse = np.unique(hashes, return_inverse=True)
    edges = np.linspace(0, BITS, far + 2).astype(int)
    found = [_in_band(values, low, high, far) for low, high in itertools.pairwise(edges.tolist())]
    pairs = np.unique(np.concatenate(found), axis=0)
    return _of_images(pairs, inverse, len(values))


def _in_band(values: np.ndarray, low: int, high: int, far: int) -> np.ndarray:
    """Close pairs [pairs, 2] among values that agree in the bits from `low` up to `high`."""
    mask = np.uint64(((1 << (high - low)) - 1) << low)
    band = values & mask
    order = np.argsort(band, kind="stable")
    bounds = np.flatnonzero(np.r_[True, np.diff(band[order]) != 0, True])
    found = [np.empty((0, 2), np.int64)]
    for start, stop in itertools.pairwise(bounds):
        members = order[start:stop]
        rows = max(1, _BLOCK // len(members))
        for first in range(0, len(members) if len(members) > 1 else 0, rows):
            part = members[first : first + rows]
            near = np.bitwise_count(values[part, None] ^ values[None, members]) <= far
            one, two = np.nonzero(near & (part[:, None] < members[None]))
            found.append(np.stack([part[one], members[two]], 1))
    return np.concatenate(found)


def _of_images(pairs: np.ndarray, inverse: np.ndarray, count: int) -> np.ndarray:
    """Pairs of values as pairs of the images that have them, those that share a value included."""
    members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse, minlength=count))[:-1])
    found = [np.empty((0, 2), np.int64)]
    for one in (images for images in members if len(images) > 1):
        first, second = np.triu_indices(len(one), 1)
        found.append(np.stack([one[first], one[second]], 1))
    for left, right in pairs:
        first, second = (side.ravel() for side in np.meshgrid(members[left], members[right], indexing="ij"))
        found.append(np.stack([np.minimum(first, second), np.maximum(first, second)], 1))
    return np.unique(np.concatenate(found), axis=0)


def grey_copies(thumbs: np.ndarray) -> np.ndarray:
    """Small copies as unit vectors without brightness and contrast: uint8 [N, S, S, 3] -> float32 [N, S * S].

    An image that shows nothing is the zero vector, and alike to no other.
    """
    grey = thumbs.astype(np.float32).mean(3).reshape(len(thumbs), -1)
    grey -= grey.mean(1, keepdims=True)
    spread = grey.std(1, keepdims=True)
    return np.where(spread < _FLAT, 0, grey / np.maximum(spread * np.sqrt(grey.shape[1]), 1e-12)).astype(np.float32)


def near_pairs(hashes: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Pairs of images that show the same: close hashes, correlation of at least ALIKE; int64 [pairs, 2].

    Args:
        hashes: uint64 [N].
        copies: float32 [N, D] from `grey_copies`.
    """
    pairs = close_pairs(hashes)
    alike = [np.einsum("nd,nd->n", copies[part[:, 0]], copies[part[:, 1]]) >= ALIKE for part in _blocks(pairs)]
    return pairs[np.concatenate(alike)] if alike else pairs


def _blocks(pairs: np.ndarray) -> list[np.ndarray]:
    return [pairs[start : start + 65_536] for start in range(0, len(pairs), 65_536)]


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
