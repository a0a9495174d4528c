"""The nearest of many points, sought in single precision and found exactly.

A product in single precision gives every half squared distance but for a rounding error whose bound is known
(Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). The smallest, and a few more, are kept. Those
that the bound holds apart are in their order; the others are measured again in double, difference by difference. Where
the bound does not part what was kept from what was left out, or double precision not one point from the next (points
that are equal, say), `exactly` decides, the plain search in double precision, whose results these are in every case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.protocols.tiles import Best, squared

CHUNK_BYTES = 1 << 28
TILE = 2048  # points a side
DENSE = 1024  # known points up to which a query's distances are all sorted through
PAIRS = 256  # measured again at once
SPARE = 8  # points kept beyond the k nearest, so that a gap between two is found behind the k-th
_SINGLE, _DOUBLE = 2.0**-24, 2.0**-53  # unit roundoffs
_SMALLEST, _LARGEST = 2.0**-126, 2.0**120  # between them single precision loses nothing


@dataclass(frozen=True)
class Points:
    """Points [N, D] in double precision, their norms [N], and in single the factors of half their squared distances.

    The first factor [N, D + 2] holds x, |x|^2 / 2 and 1, the second -x, 1 and |x|^2 / 2: a row of one times a row of
    the other is |x - y|^2 / 2. Without factors the search in double precision is all there is.
    """

    exact: Tensor
    norms: np.ndarray
    factors: tuple[Tensor, Tensor] | None

    @classmethod
    def of(cls, exact: Tensor) -> Points:
        """Of float64 [N, D]."""
        square = exact.square().sum(1)
        norms = square.sqrt().cpu().numpy()
        # elsewhere double precision is as fast; and products that may round further have no such bound
        if exact.device.type != "cpu" or torch.get_float32_matmul_precision() != "highest":
            return cls(exact, norms, None)
        single, half, one = exact.float(), (square / 2).float()[:, None], torch.ones(len(exact), 1)
        return cls(exact, norms, (torch.cat([single, half, one], 1), torch.cat([-single, one, half], 1)))

    def errors(self, queries: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds [Q] on the error of half a squared distance: in single precision, and in double as `exactly` has it.

        A product of n terms is off by no more than n roundoffs times the sum of the terms' magnitudes, here
        (|x| + |y|)^2 / 2 at most; the rounding of the factors adds less than four.
        """
        terms = self.exact.shape[1] + 8
        largest = self.norms[known].max()
        size = (self.norms[queries] + largest) ** 2 / 2
        lost = _SMALLEST * terms * (1 + self.norms[queries] + largest)
        single = np.where(size < _LARGEST, 1.01 * terms * _SINGLE * size + lost, np.inf)
        return single, 2 * terms * _DOUBLE * size


def nearest(
    points: Points, queries: np.ndarray, known: np.ndarray, k: int, folds: np.ndarray | None = None
) -> np.ndarray:
    """The k nearest of the known points, nearest first; equal distances in the order of the points.

    Args:
        points: all of them.
        queries: int64 [Q], indices of points.
        known: int64 [n], indices of points.
        k: how many; at most n are found.
        folds: int64 [n], when the queries are the known points: those of the query's own fold are left out.

    Returns:
        int64 [Q, min(k, n)], positions among the known points.
    """
    k = min(k, len(known))
    if points.factors is None:
        return exactly(points.exact[queries], points.exact[known], k, folds, folds)
    left, right = points.factors[0][queries], points.factors[1][known]
    values, positions = _candidates(left, right, k + SPARE, folds)
    single, double = points.errors(queries, known)
    found, sure = _ordered(points, queries, known, values, positions, k, single, double)
    rest = np.flatnonzero(~sure)
    if len(rest):
        own = None if folds is None else folds[rest]
        found[rest] = exactly(points.exact[queries[rest]], points.exact[known], k, own, folds)
    return found


def exactly(
    queries: Tensor, known: Tensor, k: int, own: np.ndarray | None = None, folds: np.ndarray | None = None
) -> np.ndarray:
    """The k nearest by the plain search in double precision; equal distances in the order of the points.

    Args:
        queries: float64 [Q, D].
        known: float64 [n, D].
        k: how many, at most n.
        own: int64 [Q], folds of the queries, or None.
        folds: int64 [n], folds of the known points; those of the query's own are infinitely far.

    Returns:
        int64 [Q, k], positions among the known points.
    """
    found = [np.empty((0, k), dtype=np.int64)]
    square = known.square().sum(1)
    for rows in _chunks(len(queries), len(known)):
        part = queries[rows]
        distance = part.square().sum(1)[:, None] + square
        distance.sub_(part @ known.T, alpha=2).clamp_(min=0)
        if own is not None and folds is not None:
            same = torch.from_numpy(own[rows, None] == folds)
            distance.masked_fill_(same.to(distance.device), torch.inf)
        found.append(_smallest(distance, k).cpu().numpy())
    return np.concatenate(found)


def _smallest(distance: Tensor, k: int) -> Tensor:
    """Positions [Q, k] of the k smallest, ties to the smaller position."""
    # top-k orders ties as it likes: where the smallest k + 1 hold one, a stable sort decides
    values, positions = distance.topk(min(k + 1, distance.shape[1]), largest=False, sorted=True)
    tied = (values[:, 1:] == values[:, :-1]).any(1)
    positions = positions[:, :k]
    if bool(tied.any()):
        positions[tied] = torch.sort(distance[tied], dim=1, stable=True).indices[:, :k]
    return positions


def _candidates(left: Tensor, right: Tensor, count: int, folds: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Half squared distances float64 [Q, count] of the nearest in single precision, ascending, and their positions.

    Where there are fewer than that, or fewer outside the fold, infinity fills the row.
    """
    if len(right) <= DENSE:
        return _of_few(left, right, count, folds)
    best, room = Best(len(left), count), left.new_empty(TILE * TILE)
    if folds is None:
        for rows in _blocks(np.arange(len(left))):
            for columns in _blocks(np.arange(len(right))):
                best.add(rows, columns, squared(left[rows], right[columns], room).numpy())
        return best.ascending()
    blocks = [(fold, block) for fold in np.unique(folds) for block in _blocks(np.flatnonzero(folds == fold))]
    for number, (fold, rows) in enumerate(blocks):
        for other, columns in blocks[:number]:
            if other != fold:
                tile = squared(left[rows], right[columns], room).numpy()  # the distances of either to the other
                best.add(rows, columns, tile)
                best.add(columns, rows, tile.T)
    return best.ascending()


def _of_few(left: Tensor, right: Tensor, count: int, folds: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """`_candidates` among so few points that all distances of a query are there at once."""
    values = np.full((len(left), count), np.inf)
    positions = np.zeros(values.shape, dtype=np.int64)
    kept, height = min(count, len(right)), TILE * TILE // len(right)
    room = left.new_empty(min(height, len(left)) * len(right))
    for start in range(0, len(left), height):
        rows = slice(start, start + height)
        tile = squared(left[rows], right, room)
        if folds is not None:
            tile.masked_fill_(torch.from_numpy(folds[rows, None] == folds), torch.inf)
        found = tile.topk(kept, dim=1, largest=False, sorted=True)
        values[rows, :kept], positions[rows, :kept] = found.values.numpy(), found.indices.numpy()
    return values, positions


def _ordered(
    points: Points,
    queries: np.ndarray,
    known: np.ndarray,
    values: np.ndarray,
    positions: np.ndarray,
    k: int,
    single: np.ndarray,
    double: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the candidates, int64 [Q, k], and in which rows they are certain, bool [Q]."""
    with np.errstate(invalid="ignore"):  # infinities fill short rows
        close = ~(np.diff(values) > 2 * (single + double)[:, None])
    gap = ~close[:, k - 1 :]
    sure = gap.any(1) & np.isfinite(values[:, k - 1])
    last = k - 1 + gap.argmax(1)  # the candidate before the first gap behind the k-th
    unclear = np.zeros(values.shape, dtype=bool)
    unclear[:, 1:] = close
    unclear[:, :-1] |= close
    unclear &= (np.arange(values.shape[1]) <= last[:, None]) & sure[:, None]
    rows, columns = np.nonzero(unclear)
    values[rows, columns] = _halves(points.exact, queries[rows], known[positions[rows, columns]])
    again = np.unique(rows)
    inner = np.where(np.arange(values.shape[1]) <= last[again, None], values[again], np.inf)
    order = np.argsort(inner, axis=1, kind="stable")
    positions[again] = np.take_along_axis(positions[again], order, 1)
    inner = np.take_along_axis(inner, order, 1)
    apart = inner[:, 1 : k + 1] - inner[:, :k] > 2 * double[again, None]
    sure[again] &= (apart | (np.arange(1, apart.shape[1] + 1) > last[again, None])).all(1)
    return positions[:, :k].astype(np.int64), sure


def _halves(points: Tensor, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Half the squared distances of pairs of points, float64 [pairs]."""
    halves = np.empty(len(left))
    for start in range(0, len(left), PAIRS):
        part = slice(start, start + PAIRS)
        halves[part] = (points[left[part]] - points[right[part]]).square_().sum(1) / 2
    return halves


def _blocks(indices: np.ndarray) -> list[np.ndarray]:
    return [indices[start : start + TILE] for start in range(0, len(indices), TILE)]


def _chunks(queries: int, known: int) -> Iterator[slice]:
    rows = max(1, CHUNK_BYTES // (24 * known))
    return (slice(start, start + rows) for start in range(0, queries, rows))
