"""The smallest numbers of every row of a large matrix, of which one tile is there at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_GROUP = 16  # columns of which the least bounds what a row's smallest can be


def squared(left: Tensor, right: Tensor, room: Tensor) -> Tensor:
    """Half squared distances float32 [a, b] from factors [a, D + 2] and [b, D + 2] (see `Points`).

    They lie in `room`, float32 [a * b] or longer, until the next ones do: fresh memory costs as much as it holds.
    """
    return torch.mm(left, right.T, out=room[: len(left) * len(right)].view(len(left), len(right)))


class Best:
    """The `count` smallest of each row so far, and the columns they stood in; infinity where there are fewer.

    Of numbers that are equal at the end of a row any may be kept. NaN is never kept.
    """

    def __init__(self, rows: int, count: int) -> None:
        self.count = count
        self.values = np.full((rows, count), np.inf, dtype=np.float32)
        self.positions = np.zeros((rows, count), dtype=np.int64)

    def add(self, rows: np.ndarray, columns: np.ndarray, tile: np.ndarray) -> None:
        """Takes in the tile float32 [a, b] of these rows [a] and columns [b], in either order of memory."""
        kept, places = self.values[rows], self.positions[rows]
        largest = kept.max(1)
        bound = np.nextafter(largest, np.float32(-np.inf))  # what is equal need not come in
        if not np.isfinite(largest).all():
            bound = np.where(np.isfinite(largest), bound, _bound(tile, self.count))
        row, column = _below(tile, bound)
        counts = np.bincount(row, minlength=len(rows))
        slot = self.count + np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        values = np.full((len(rows), self.count + counts.max(initial=0)), np.inf, dtype=np.float32)
        positions = np.zeros(values.shape, dtype=np.int64)
        values[:, : self.count], positions[:, : self.count] = kept, places
        values[row, slot], positions[row, slot] = tile[row, column], columns[column]
        found = torch.from_numpy(values).topk(self.count, dim=1, largest=False, sorted=False)
        self.values[rows] = found.values.numpy()
        self.positions[rows] = np.take_along_axis(positions, found.indices.numpy(), 1)

    def ascending(self) -> tuple[np.ndarray, np.ndarray]:
        """Values float64 [rows, count], ascending, and their columns int64 [rows, count]."""
        order = np.argsort(self.values, axis=1)
        values, positions = (np.take_along_axis(part, order, 1) for part in (self.values, self.positions))
        return values.astype(np.float64), positions


def _bound(tile: np.ndarray, count: int) -> np.ndarray:
    """Numbers [a] that at least `count` of the row do not exceed; infinity where a row is shorter.

    The least of each group of columns stand for their row: few are larger than its smallest.
    """
    width = tile.shape[1] // _GROUP
    if width > 2 * count:
        groups = torch.from_numpy(tile)[:, : width * _GROUP].unflatten(1, (_GROUP, width))
        tile = groups.amin(1).numpy()
    if tile.shape[1] < count:
        return np.full(len(tile), np.inf, dtype=np.float32)
    return torch.from_numpy(tile).kthvalue(count, dim=1).values.numpy()


def _below(tile: np.ndarray, bound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows, ascending, and columns of what does not exceed its row's bound."""
    mask = tile <= bound[:, None]  # in the order of the tile's memory
    if mask.flags.c_contiguous:
        flat = np.flatnonzero(mask)
        return np.divmod(flat, tile.shape[1])
    column, row = np.divmod(np.flatnonzero(mask.T), tile.shape[0])
    order = np.argsort(row.astype(np.int16), kind="stable")
    return row[order], column[order]
