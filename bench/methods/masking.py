"""Which patches a masked autoencoder removes, arXiv 2111.06377, section 3 and figure 6.

Every sampler removes the same, exact number of patches from every sample, so that batches stay rectangular.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from bench.data.augment import between
from bench.data.draws import Draws
from bench.errors import UserError

LEAST_AREA = 4  # patches of a rectangle, BEiT's default
ASPECT = (0.3, 1 / 0.3)
TRIES = 10  # rectangles in a row that may fail before a sample is left short
RECTANGLES = 100  # tries a sample has numbers for: about twice what the slowest of a thousand samples needs


class Masking(NamedTuple):
    """Numbers of the patches the encoder sees, [N, len_keep], and of the removed ones, [N, L - len_keep].

    Both are in random order, so that the first k removed patches are a random k of them.
    """

    ids_keep: Tensor
    ids_removed: Tensor

    @property
    def ids_restore(self) -> Tensor:
        """Where each patch stands in [ids_keep, ids_removed]: [N, L]; taking by it undoes the shuffling."""
        return torch.cat(self, dim=1).argsort(dim=1)


def random_masking(scores: Tensor, len_keep: int) -> Masking:
    """Keeps the patches with the len_keep smallest scores of each sample, [N, L]: at random, if they are uniform."""
    ids_shuffle = scores.argsort(dim=1)
    return Masking(ids_shuffle[:, :len_keep], ids_shuffle[:, len_keep:])


def sample_random(draws: Draws, grid: tuple[int, int], len_keep: int) -> Masking:
    """Patches one by one, uniformly without replacement."""
    return random_masking(draws.uniform(grid[0] * grid[1]), len_keep)


def sample_block(draws: Draws, grid: tuple[int, int], len_keep: int) -> Masking:
    """Rectangles as BEiT draws them (arXiv 2106.08254), filled up with single patches where they stop short."""
    patches = grid[0] * grid[1]
    covered = rectangles(draws, grid, patches - len_keep).flatten(1)
    removed = random_masking(draws.uniform(patches) + covered, len_keep).ids_removed
    return random_masking(draws.uniform(patches).scatter_add(1, removed, torch.ones_like(removed).float()), len_keep)


def sample_grid(draws: Draws, grid: tuple[int, int], len_keep: int) -> Masking:
    """Keeps the upper left of every 2 x 2 patches."""
    rows, columns = (torch.arange(side, device=draws.device) % 2 for side in grid)
    removed = (rows.unsqueeze(1) | columns).flatten()
    return random_masking(draws.uniform(grid[0] * grid[1]) + removed, len_keep)


SAMPLERS: dict[str, Callable[[Draws, tuple[int, int], int], Masking]] = {
    "random": sample_random,
    "block": sample_block,
    "grid": sample_grid,
}


def rectangles(draws: Draws, grid: tuple[int, int], count: int) -> Tensor:
    """Covers patches with rectangles until `count` are covered or ten tries in a row have failed.

    The area is uniform from 4 to what is left, the aspect log-uniform, the place uniform; a rectangle that leaves the
    grid, covers nothing new or too much is a failed try.

    Returns:
        bool [N, rows, columns] with at most `count` patches covered in each sample.
    """
    numbers = draws.uniform(RECTANGLES, 4)
    covered = torch.zeros(len(numbers), *grid, dtype=torch.bool, device=numbers.device)
    missing = torch.full((len(numbers),), count, device=numbers.device)
    failures = torch.zeros_like(missing)
    for area, aspect, top, left in numbers.permute(1, 2, 0):
        size = LEAST_AREA + (missing - LEAST_AREA) * area
        ratio = between(aspect, (log(ASPECT[0]), log(ASPECT[1]))).exp()
        inside = _span((size * ratio).sqrt().round(), top, grid[0]).unsqueeze(2)
        inside = inside & _span((size / ratio).sqrt().round(), left, grid[1]).unsqueeze(1)
        new = (inside & ~covered).sum(dim=(1, 2))
        accepted = (new > 0) & (new <= missing) & (failures < TRIES)
        covered |= inside & accepted.view(-1, 1, 1)
        missing = missing - new * accepted
        failures = torch.where(accepted, 0, failures + 1)
        if not ((missing > 0) & (failures < TRIES)).any():
            break
    return covered


def _span(length: Tensor, place: Tensor, side: int) -> Tensor:
    """Steps inside an interval of that length [N] at a place in [0, 1): bool [N, side]; none where it is too long."""
    start = (place * (side - length + 1)).floor().unsqueeze(1)
    steps = torch.arange(side, device=length.device)
    return (start <= steps) & (steps < start + length.unsqueeze(1)) & (length <= side).unsqueeze(1)


def kept(patches: int, mask_ratio: float) -> int:
    """int(patches * (1 - mask_ratio)), safe against 10 * (1 - 0.9) = 0.99...

    Raises:
        UserError: nothing would be visible, or nothing removed.
    """
    count = int(patches * (1 - mask_ratio) + 1e-6)
    if not 0 < count < patches:
        raise UserError(f"mae.mask_ratio: {mask_ratio} keeps {count} of {patches} patches; take another, or patch_size")
    return count


def check_grid(rows: int, columns: int) -> None:
    """Raises UserError unless every 2 x 2 patches are whole."""
    if rows % 2 or columns % 2:
        raise UserError(
            f"mae.sampling: 'grid' keeps one of every 2 x 2 patches, but the image has {rows} x {columns}; "
            "take another patch_size"
        )
