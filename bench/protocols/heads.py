"""Batched linear heads: many multinomial logistic regressions at once, scikit-learn's objective.

A head minimises 0.5 * |W|^2 + C * sum_i w_i * loss_i over weights W [D, K] and an unpenalised bias [K], where loss_i is
the cross-entropy of the full softmax over the classes the head has samples of. (With two classes that is scikit-learn's
binomial fit at 2 C.) Classes without samples get probability zero.

The features of a group are rotated to their principal axes once (exact: W lives in the row space), where a diagonal
preconditioner, the curvature at zero, makes every regulariser about equally hard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from bench.protocols.solver import ABSENT, HISTORY, Problem, minimise

TOLERANCE = 2e-7  # estimated; the measured error against converged fits is up to 200 times that, hence below 1e-4
SELECTION_TOLERANCE = 1e-5  # enough to compare candidates: the same choices as at 1e-7 on digits
MAX_ITERATIONS = 2000
CHUNK_BYTES = 1 << 29
LARGE = 1 << 19  # multiplications of one product from which a group of several heads is solved by itself
_NEGLIGIBLE = 1e-12  # squared singular value, relative to the largest, below which an axis holds rounding only


@dataclass(frozen=True)
class Heads:
    """Fitted heads: weight [G, M, D, K], bias [G, M, K] (-1e30 for a class without samples), and how each ended.

    objective, iterations, converged: [G, M].
    """

    weight: Tensor
    bias: Tensor
    objective: Tensor
    iterations: Tensor
    converged: Tensor

    def probabilities(self, features: Tensor) -> Tensor:
        """Class probabilities [G, M, N, K] of shared features [N, D], or of each group's own [G, N, D]."""
        return torch.softmax(self._logits(features), -1)

    def predictions(self, features: Tensor) -> Tensor:
        """The likeliest class, int64 [G, M, N]; features as for `probabilities`, taken a chunk at a time."""
        rows = max(1, CHUNK_BYTES // (16 * self.bias.numel()))
        return torch.cat([self._logits(part).argmax(-1) for part in features.split(rows, dim=-2)], -1)

    def _logits(self, features: Tensor) -> Tensor:
        groups, heads, dim, classes = self.weight.shape
        columns = self.weight.transpose(1, 2).reshape(groups, dim, heads * classes)
        logits = (features.to(columns.dtype) @ columns).view(groups, -1, heads, classes)
        return logits.transpose(1, 2) + self.bias[:, :, None]


def fit_heads(
    features: Tensor,
    labels: Tensor,
    n_classes: int,
    C: Tensor,
    weights: Tensor | None = None,
    *,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
    apart: bool = False,
) -> Heads:
    """Fits M heads on each of G groups of samples.

    Computed in the dtype of the features, float64 by intent. With one head a group (M = 1), or `apart`, the result of a
    group is the same bits whichever groups share the call; otherwise it is the same to the tolerance.

    Args:
        features: [G, n, D] float; standardise them first.
        labels: [G, n] int64 in 0..n_classes-1.
        n_classes: K.
        C: [M] or [G, M] inverse regularisers, positive.
        weights: [G, n, M] sample weights, or None for ones; a zero hides the sample from the head (a held-out fold).
        tolerance: relative error of the objective at which a head is done (estimated).
        max_iterations: heads not done by then are returned as they are, `converged` False.
        apart: solve the groups one by one, as is done anyway where they are large.
    """
    groups, n, _ = features.shape
    C = C.to(features).expand(groups, C.shape[-1])
    weights = features.new_ones(1, 1, 1).expand(groups, n, C.shape[1]) if weights is None else weights.to(features)
    apart = apart or _large(features.shape, C.shape[1], n_classes)
    solve = partial(_fit, n_classes=n_classes, tolerance=tolerance, max_iterations=max_iterations, narrow=apart)
    parts = [
        [
            solve(features[rows], labels[rows], C=C[rows, columns], weights=weights[rows, :, columns])
            for columns in column_chunks
        ]
        for rows, column_chunks in _chunks(features, C.shape[1], n_classes, apart)
    ]
    return _join([_join(row, 1) for row in parts], 0)


def _fit(
    features: Tensor,
    labels: Tensor,
    n_classes: int,
    C: Tensor,
    weights: Tensor,
    tolerance: float,
    max_iterations: int,
    narrow: bool,
) -> Heads:
    inputs, axes, squares, mean = _rotate(features)
    onehot = torch.nn.functional.one_hot(labels, n_classes).to(features)
    present = torch.einsum("gnk,gnm->gmk", onehot, (weights > 0).to(features)) > 0
    curvature = C / (2 * n_classes)  # between that of no knowledge, 1 / K, and that of confident heads
    problem = Problem(
        inputs=torch.cat([inputs, inputs.new_ones(*inputs.shape[:2], 1)], 2),
        onehot=onehot[:, :, None],
        weight=weights * C[:, None],
        scale=_preconditioner(squares, curvature, weights.sum(1)),
        offset=torch.where(present, 0.0, ABSENT)[:, None].to(features),
    )
    solution = minimise(problem, tolerance, max_iterations, narrow)
    rotated = problem.scale[..., None] * solution.theta
    weight = torch.einsum("gdr,grmk->gmdk", axes, rotated[:, :-1])
    bias = rotated[:, -1] - torch.einsum("gd,gmdk->gmk", mean, weight) + problem.offset[:, 0]
    return Heads(weight, bias, solution.objective, solution.iterations, solution.converged)


def _rotate(features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Coordinates on the principal axes.

    Returns:
        inputs [G, n, R], axes [G, D, R] with features - mean = inputs @ axes^T, squared singular values [G, R] and
        mean [G, D]; R = min(n, D). Axes that hold rounding only are zero.
    """
    mean = features.mean(1)  # moved into the bias, which is not penalised
    centred = features - mean[:, None]
    if features.shape[1] >= features.shape[2]:
        squares, axes = torch.linalg.eigh(centred.mT @ centred)
        return centred @ axes, axes, squares.clamp(min=0), mean
    squares, left = torch.linalg.eigh(centred @ centred.mT)
    kept = squares > _NEGLIGIBLE * squares[:, -1:]
    lengths = torch.where(kept, squares, 0.0).sqrt()
    inverse = torch.where(kept, squares, torch.inf).rsqrt()
    return left * lengths[:, None], centred.mT @ (left * inverse[:, None]), lengths.square(), mean


def _preconditioner(squares: Tensor, curvature: Tensor, samples: Tensor) -> Tensor:
    """Inverse root of the Hessian's diagonal at zero, [G, R + 1, M]; the bias, last, has no penalty."""
    weights = torch.rsqrt(1 + squares[:, :, None] * curvature[:, None])
    bias = torch.rsqrt((samples * curvature).clamp(min=1e-12))
    return torch.cat([weights, bias[:, None]], 1)


def _chunks(features: Tensor, heads: int, classes: int, apart: bool) -> Iterator[tuple[slice, list[slice]]]:
    """Slices of the groups, each with slices of the heads, whose work fits in CHUNK_BYTES."""
    groups, n, dim = features.shape
    per_head = classes * features.element_size() * (6 * n + (2 * HISTORY + 8) * (min(n, dim) + 1))
    width = max(1, min(heads, CHUNK_BYTES // per_head))
    columns = [slice(start, start + width) for start in range(0, heads, width)]
    height = 1 if apart else max(1, CHUNK_BYTES // (per_head * width))
    for start in range(0, groups, height):
        yield slice(start, start + height), columns


def _large(shape: torch.Size, heads: int, classes: int) -> bool:
    """Whether a group is work enough by itself: alone, its heads leave as they are done."""
    _, n, dim = shape
    return heads > 1 and n * min(n, dim) * heads * classes > LARGE


def _join(parts: list[Heads], dim: int) -> Heads:
    if len(parts) == 1:
        return parts[0]
    names = ("weight", "bias", "objective", "iterations", "converged")
    return Heads(*(torch.cat([getattr(part, name) for part in parts], dim) for name in names))
