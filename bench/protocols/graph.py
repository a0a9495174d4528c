"""The graph of neighbours that labels spread over, and the spreading itself."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array, diags_array
from torch import Tensor

GAMMA = 3  # power of the cosine similarity (Iscen et al., arXiv 1904.04717, eq. 8)
TOLERANCE = 1e-10  # of a column's residual, relative to its right-hand side
MAX_ITERATIONS = 1000  # at alpha 0.99 about 170 are enough for any graph
CHUNK_BYTES = 1 << 28


def nearest(queries: Tensor, known: Tensor, k: int, *, itself: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar known points of each query.

    Args:
        queries: float [Q, D] of unit length.
        known: float [n, D] of unit length.
        k: how many; at most n are found (n - 1 with `itself`).
        itself: the queries are the known points, and none is its own neighbour.

    Returns:
        Positions int64 [Q, k] and cosine similarities float64 [Q, k], most similar first.
    """
    k = min(k, len(known) - itself)
    positions, similarities = [], []
    rows = max(1, CHUNK_BYTES // (8 * len(known)))
    for start in range(0, len(queries), rows):
        similarity = queries[start : start + rows] @ known.T
        if itself:
            own = torch.arange(len(similarity), device=similarity.device)
            similarity[own, own + start] = -torch.inf
        best = similarity.topk(k, dim=1)
        positions.append(best.indices.cpu().numpy())
        similarities.append(best.values.cpu().double().numpy())
    return np.concatenate(positions), np.concatenate(similarities)


def weigh(similarities: np.ndarray) -> np.ndarray:
    """Edge weights of cosine similarities: their third power, zero where they point away from each other."""
    return similarities.clip(min=0) ** GAMMA


def affinity(points: Tensor, k: int) -> csr_array:
    """The symmetric graph W = A + A^T, where A joins each point to its k nearest (arXiv 1904.04717, eq. 8).

    Args:
        points: float [n, D] of unit length.

    Returns:
        float64 [n, n], no point joined to itself.
    """
    positions, similarities = nearest(points, points, k, itself=True)
    start = np.arange(0, positions.size + 1, positions.shape[1])
    edges = csr_array((weigh(similarities).ravel(), positions.ravel(), start), shape=(len(points), len(points)))
    return csr_array(edges + edges.T)


def normalised(graph: csr_array) -> csr_array:
    """S = D^-1/2 W D^-1/2, whose eigenvalues lie in [-1, 1]; points without edges stay without."""
    degree = np.asarray(graph.sum(1)).ravel()
    inverse = np.divide(1.0, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    return csr_array(diags_array(inverse) @ graph @ diags_array(inverse))


def spread(graph: csr_array, seeds: np.ndarray, alpha: float) -> np.ndarray:
    """F = (1 - alpha) (I - alpha S)^-1 Y (Zhou et al., NIPS 2003), every column of Y at once by conjugate gradients.

    Each column has steps and an end of its own, so it does not matter which others share the call.

    Args:
        graph: S, float64 [n, n].
        seeds: Y, float64 [n, m], one where an image has the label, else zero.
        alpha: share of its score that an image takes from its neighbours.

    Returns:
        float64 [n, m], never negative.
    """
    rhs = (1 - alpha) * seeds
    solution, residual = np.zeros_like(rhs), rhs.copy()
    direction, square = rhs.copy(), np.square(rhs).sum(0)
    target = TOLERANCE**2 * square
    for _ in range(MAX_ITERATIONS):
        active = square > target
        if not active.any():
            break
        image = direction - alpha * (graph @ direction)
        curvature = (direction * image).sum(0)
        step = np.divide(square, curvature, out=np.zeros_like(square), where=active)
        solution += step * direction
        residual -= step * image
        left = np.square(residual).sum(0)
        turn = np.divide(left, square, out=np.zeros_like(square), where=active)
        direction = np.where(active, residual + turn * direction, direction)
        square = np.where(active, left, square)
    return solution.clip(min=0)
