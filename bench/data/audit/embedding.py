"""Images as points: what stands in for an encoder where there is none, and the nearest neighbours of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from bench.data.audit.survey import Survey

DIMENSIONS = 64
NEIGHBOURS = 10
PIXELS = "PCA of pixels"


class Embedding(NamedTuple):
    """One point an image: float32 [N, D], and what made them, in words."""

    points: np.ndarray
    name: str


class Neighbours(NamedTuple):
    """The nearest other images of each, nearest first: int64 [N, k] and distances float64 [N, k]."""

    rows: np.ndarray
    distances: np.ndarray


def pixel_embedding(thumbs: np.ndarray) -> Embedding:
    """The first 64 principal components of small colour copies: uint8 [N, S, S, 3] -> float32 [N, <= 64]."""
    values = thumbs.reshape(len(thumbs), -1).astype(np.float32) / 255
    dimensions = min(DIMENSIONS, *values.shape)
    solver = "covariance_eigh" if values.shape[0] > values.shape[1] else "full"  # both exact, each fast for its shape
    return Embedding(PCA(dimensions, svd_solver=solver).fit_transform(values).astype(np.float32), PIXELS)


def neighbours_of(points: np.ndarray, seen: Survey) -> Neighbours:
    """Nearest neighbours by Euclidean distance among images with other pixels: copies say nothing new of each other.

    The copies of one image are left out by keeping the first of each only; a copy has the neighbours of that first.
    """
    _, first, inverse = np.unique(seen.pixels, return_index=True, return_inverse=True)
    k = min(NEIGHBOURS, len(first) - 1)
    distances, found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points[first]).kneighbors()
    return Neighbours(first[found][inverse], distances[inverse].astype(np.float64))
