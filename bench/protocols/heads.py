"""Batched linear heads: many multinomial logistic regressions at once, scikit-learn's objective.

A head minimises 0.5 * |W|^2 + C * sum_i w_i * loss_i over weights W [D, K] and an unpenalised bias [K], where loss_i is
the cross-entropy of the full softmax over the classes the head has samples of. (With two classes that is scikit-learn's
binomial fit at 2 C.) Classes without samples get probability zero.

The features of a group are rotated to their principal axes once (exact: W lives in the row space), where the diagonal
of the Hessian is a good preconditioner. The regularisers of a group are a path: the solutions at three show where the
next one lies. Heads are sought in single precision.

Matrix products may round by the alignment of their operands in memory. Sizes are padded with zeros to whole cache lines
so that a group's bits do not depend on its place in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from bench.protocols.solver import Problem, follow

TOLERANCE = 1e-5  # of the objective
SELECTION_TOLERANCE = 1e-4
SCORED_TOLERANCE = 2e-6  # of heads whose probabilities are scored: a flat objective hides what a log loss shows
MAX_ITERATIONS = 200
CHUNK_BYTES = 1 << 23  # of the groups that are solved in step; more fall out of the caches
ALONE = 1 << 23  # numbers of a group from which all threads work on it
LINE = 16  # numbers of single precision in a cache line
_NEGLIGIBLE = 1e-12  # squared singular value, relative to the largest, below which an axis holds rounding only


@dataclass(frozen=True)
class Heads:
    """Fitted heads: weight [G, M, D, K], bias [G, M, K] (-1e30 for a class without samples), and how each ended.

    iterations, converged: [G, M].
    """

    weight: Tensor
    bias: Tensor
    iterations: Tensor
    converged: Tensor

    def probabilities(self, features: Tensor) -> Tensor:
        """Class probabilities [G, M, N, K] of shared features [N, D], or of each group's own [G, N, D]."""
        return torch.softmax(self._logits(features), -1)

    def predictions(self, features: Tensor) -> Tensor:
        """The likeliest class, int64 [G, M, N]; features as for `probabilities`, taken a chunk at a time."""
        rows = max(1, CHUNK_BYTES // (16 * self.bias.numel()))
        return torch.cat([self._logits(part).argmax(-1) for part in features.split(rows, dim=-2)], -1)

    def objective(self, features: Tensor, labels: Tensor, C: Tensor, weights: Tensor | None = None) -> Tensor:
        """What `fit_heads` minimised, at these weights, in double precision: [G, M]; its arguments."""
        groups, heads, _ = self.bias.shape
        folds = heads // C.shape[-1]
        logits = self._logits(features.double())
        losses = logits.logsumexp(-1) - logits.gather(3, labels[:, None, :, None].expand(-1, heads, -1, -1))[..., 0]
        if weights is not None:
            losses = losses * weights.mT.repeat_interleave(C.shape[-1], 1)
        scale = C.to(losses).expand(groups, -1).repeat(1, folds)
        return scale * losses.sum(2) + self.weight.square().sum((2, 3)) / 2

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
) -> Heads:
    """Fits M = F * P heads on each of G groups of samples: F folds at P regularisers, the folds outermost.

    The result of a group is the same bits whichever groups share the call.

    Args:
        features: [G, n, D] float64; standardise them first.
        labels: [G, n] int64 in 0..n_classes-1.
        n_classes: K.
        C: [P] or [G, P] inverse regularisers, positive.
        weights: [G, n, F] sample weights, or None for ones (F = 1); a zero hides the sample (a held-out fold).
        tolerance: how far above its minimum an objective may end, as a share of it.
        max_iterations: Newton steps; heads not done by then are returned as they are, `converged` False.
    """
    groups, n, _ = features.shape
    C = C.to(features).expand(groups, C.shape[-1])
    weights = features.new_ones(1, 1, 1).expand(groups, n, 1) if weights is None else weights.to(features)
    height = _height(features.shape, weights.shape[2], n_classes)

    def fit(start: int) -> Heads:
        rows = slice(start, start + height)
        return _fit(features[rows], labels[rows], n_classes, C[rows], weights[rows], tolerance, max_iterations)

    return _join(_each(fit, range(0, groups, height), features))


def _fit(
    features: Tensor,
    labels: Tensor,
    n_classes: int,
    C: Tensor,
    weights: Tensor,
    tolerance: float,
    max_iterations: int,
) -> Heads:
    problem, axes, mean = _pose(features, labels, n_classes, weights)
    path, order = C.sort(dim=1)
    found = follow(problem, path.float(), tolerance, max_iterations)
    rank = order.argsort(1)
    theta = _in_order([part.theta for part in found], rank).double()
    weight = (theta[..., :-1].flatten(1, 2) @ axes.mT).unflatten(1, theta.shape[1:3])
    bias = theta[..., -1] - torch.einsum("gd,gmkd->gmk", mean, weight)
    return Heads(
        weight=weight.mT,
        bias=bias + problem.offset[..., 0].repeat_interleave(C.shape[1], 1),
        iterations=_in_order([part.iterations for part in found], rank),
        converged=_in_order([part.converged for part in found], rank),
    )


def _pose(features: Tensor, labels: Tensor, n_classes: int, weights: Tensor) -> tuple[Problem, Tensor, Tensor]:
    """The problem in the coordinates of `_rotate`, and its axes and mean."""
    inputs, axes, mean = _rotate(features)
    missing = inputs.shape[1] - labels.shape[1]
    present = _present(labels, weights, n_classes)
    labels, weights = pad(labels, (0, missing)), pad(weights.mT, (0, missing))
    return Problem.build(inputs, labels, weights.float(), present), axes, mean


def _present(labels: Tensor, weights: Tensor, n_classes: int) -> Tensor:
    """Whether a head has a sample of the class, bool [G, F, K]."""
    onehot = torch.nn.functional.one_hot(labels, n_classes).to(weights)
    return (weights > 0).to(weights).mT @ onehot > 0


def _in_order(values: list[Tensor], rank: Tensor) -> Tensor:
    """[G, F, ...] of every step of the path to [G, F * P, ...] in the order asked; rank [G, P] in the path."""
    joined = torch.stack(values, 2)
    index = rank.view(len(rank), 1, -1, *[1] * (joined.ndim - 3))
    return torch.take_along_dim(joined, index, 2).flatten(1, 2)


def _rotate(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coordinates on the principal axes.

    Returns:
        inputs [G, n', R + 1] float32, axes [G, D, R] with features - mean = inputs @ axes^T, and mean [G, D]. The last
        column of the inputs is one. n' and R + 1 are whole lines; rows and axes beyond the data, or of rounding, are
        zero.
    """
    groups, n, dim = features.shape
    mean = features.mean(1)  # moved into the bias, which is not penalised
    shape = (groups, n + -n % LINE, dim + -dim % LINE)
    if n > dim:
        single = _centred(features, mean, features.new_zeros(shape, dtype=torch.float32))
        _, axes = torch.linalg.eigh((single.mT @ single).double())  # orthonormal in double: what they turn stays whole
        inputs, axes = (single @ axes.float())[..., -dim:], axes[..., -dim:]
    else:
        centred = _centred(features, mean, features.new_zeros(shape))
        squares, left = torch.linalg.eigh(centred @ centred.mT)
        squares, left = squares[:, None, 1 - n :], left[..., 1 - n :]  # centred samples span one dimension less
        kept = squares > _NEGLIGIBLE * squares[..., -1:]
        inputs = (left * torch.where(kept, squares, 0.0).sqrt()).float()
        axes = centred.mT @ (left * torch.where(kept, squares, torch.inf).rsqrt())
    spare = -(inputs.shape[2] + 1) % LINE
    inputs = torch.cat([pad(inputs, (spare, 0)), inputs.new_ones(*inputs.shape[:2], 1)], 2)
    return inputs, pad(axes[:, :dim], (spare, 0)), mean


def _centred(features: Tensor, mean: Tensor, into: Tensor) -> Tensor:
    _, n, dim = features.shape
    torch.sub(features, mean[:, None], out=into[:, :n, :dim])
    return into


def _each(fit: Callable[[int], Heads], starts: Sequence[int], features: Tensor) -> list[Heads]:
    """The parts that begin there: of large groups by all threads in turn, others side by side, a thread each.

    Which it is depends on the size of a group alone: a product may round by its threads, and the bits of a group may
    not depend on which others there are. On a GPU they go in turn.
    """
    threads = torch.get_num_threads()
    if threads == 1 or features.device.type != "cpu" or features[0].numel() > ALONE:
        return [fit(start) for start in starts]
    try:
        with ThreadPoolExecutor(min(threads, len(starts)), initializer=lambda: torch.set_num_threads(1)) as pool:
            return list(pool.map(fit, starts))
    finally:
        torch.set_num_threads(threads)  # what threads that are yet to come take over


def _height(shape: torch.Size, folds: int, classes: int) -> int:
    """Groups solved at once: as many as keep their work in CHUNK_BYTES, at least one, in parts of like size."""
    groups, n, dim = shape
    width = min(n, dim) + 1
    per_group = 4 * (2 * n * width + folds * classes * (8 * n + 8 * width))
    parts = -(-groups // max(1, CHUNK_BYTES // per_group))
    return -(-groups // max(1, parts))


def _join(parts: list[Heads]) -> Heads:
    if len(parts) == 1:
        return parts[0]
    names = ("weight", "bias", "iterations", "converged")
    return Heads(*(torch.cat([getattr(part, name) for part in parts]) for name in names))
