"""The samplers of the masked autoencoder: exact counts, and what the paper says of each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from bench.data.draws import Draws
from bench.errors import UserError
from bench.methods.masking import (
    SAMPLERS,
    Masking,
    check_grid,
    kept,
    random_masking,
    rectangles,
    sample_block,
    sample_grid,
    sample_random,
)
from bench.methods.patches import take
from bench.study.methods import MaeOptions

COUNT = 5
sides = st.integers(1, 9)


@given(st.sampled_from(["random", "block"]), sides, sides, st.floats(0.02, 0.98), st.integers(0, 2**31))
def test_exactly_len_keep_are_visible_and_the_order_can_be_restored(
    sampling: str, rows: int, columns: int, ratio: float, seed: int
) -> None:
    patches = rows * columns
    len_keep = min(max(1, int(patches * (1 - ratio))), patches)
    masking = SAMPLERS[sampling](Draws(seed, COUNT), (rows, columns), len_keep)
    assert masking.ids_keep.shape == (COUNT, len_keep)
    ids_shuffle = torch.cat(masking, dim=1)
    assert torch.equal(ids_shuffle.sort(dim=1).values, torch.arange(patches).expand(COUNT, -1))
    tokens = torch.arange(COUNT * patches).view(COUNT, patches, 1)
    assert torch.equal(take(take(tokens, ids_shuffle), masking.ids_restore), tokens)


@pytest.mark.parametrize("sampling", SAMPLERS)
def test_two_workers_mask_what_one_would(sampling: str) -> None:
    """And leave the stream at the same place, whatever their samples looked like."""
    whole = Draws(7, 8)
    masking, after = SAMPLERS[sampling](whole, (6, 8), 12), whole.uniform()
    for rank in range(2):
        draws = Draws(7, 8, rank, 2)
        part, rows = SAMPLERS[sampling](draws, (6, 8), 12), slice(4 * rank, 4 * rank + 4)
        assert torch.equal(part.ids_keep, masking.ids_keep[rows])
        assert torch.equal(part.ids_removed, masking.ids_removed[rows])
        assert torch.equal(draws.uniform(), after[rows])


def test_random_masking_keeps_the_smallest_noises() -> None:
    masking = random_masking(torch.tensor([[0.7, 0.1, 0.4, 0.2]]), 2)
    assert masking.ids_keep.tolist() == [[1, 3]]
    assert masking.ids_removed.tolist() == [[2, 0]]
    assert masking.ids_restore.tolist() == [[3, 0, 2, 1]]


@pytest.mark.parametrize("sampling", ["random", "block"])
def test_the_first_removed_patches_are_a_random_choice_of_them(sampling: str) -> None:
    """What is decoded in part must not depend on how a patch came to be removed."""
    ids_removed = SAMPLERS[sampling](Draws(0, 20_000), (4, 4), 8).ids_removed
    first, all_removed = (torch.bincount(ids.flatten(), minlength=16) for ids in (ids_removed[:, :4], ids_removed))
    np.testing.assert_allclose(first / all_removed, 0.5, atol=0.03)


def test_every_patch_is_kept_equally_often() -> None:
    masking = sample_random(Draws(0, 20_000), (4, 4), 4)
    share = torch.bincount(masking.ids_keep.flatten(), minlength=16) / 20_000
    np.testing.assert_allclose(share, 0.25, atol=0.015)


@pytest.mark.parametrize("grid", [(14, 14), (4, 6)])
def test_grid_keeps_one_of_every_two_by_two(grid: tuple[int, int]) -> None:
    visible = _visible(sample_grid(Draws(0, COUNT), grid, grid[0] * grid[1] // 4), grid)
    expected = np.zeros(grid, dtype=bool)
    expected[::2, ::2] = True
    assert (visible == expected).all()


def test_rectangles_cover_almost_all_that_they_should_and_never_more() -> None:
    """BEiT's own setting: 75 of 14 x 14."""
    covered = rectangles(Draws(0, 400), (14, 14), 75).sum(dim=(1, 2))
    assert covered.max() == 75
    assert covered.float().mean() > 74
    assert (covered == 75).float().mean() > 0.8


def test_the_first_rectangle_is_as_the_generator_says() -> None:
    """With one try that fits: area uniform from 4 to the count, aspect log-uniform in [0.3, 1 / 0.3]."""
    spread = rectangles(_FirstOnly(3, 2000), (40, 40), 100).numpy()
    down, across = spread.any(2).sum(1), spread.any(1).sum(1)
    assert (spread.sum(axis=(1, 2)) == down * across).all()
    done = down > 0
    assert done.mean() > 0.95
    down, across = down[done], across[done]
    area, aspect = down * across, down / across
    assert area.max() <= 100
    assert abs(area.mean() - 52) < 2
    assert abs(np.log(aspect).mean()) < 0.03
    assert np.log(aspect).std() == pytest.approx(np.log(1 / 0.3) / np.sqrt(3), rel=0.05)


class _FirstOnly(Draws):
    """Draws that make every rectangle but the first too long for the grid."""

    def uniform(self, *shape: int) -> torch.Tensor:
        numbers = super().uniform(*shape)
        numbers[:, 1:, :2] = 1e6
        return numbers


def test_blocks_are_larger_than_chance() -> None:
    """Visible patches hang together in fewer pieces than under random sampling."""
    pieces = {
        name: np.mean([ndimage.label(visible)[1] for visible in _visible(SAMPLERS[name](Draws(0, 200), (14, 14), 98))])
        for name in ("random", "block")
    }
    assert pieces["block"] < pieces["random"] / 2


@pytest.mark.parametrize(("patches", "ratio", "count"), [(196, 0.75, 49), (196, 0.9, 19), (16, 0.5, 8), (10, 0.9, 1)])
def test_len_keep(patches: int, ratio: float, count: int) -> None:
    assert kept(patches, ratio) == count


@pytest.mark.parametrize("ratio", [0.95, 1e-8])
def test_a_ratio_that_leaves_nothing_to_see_or_to_predict_is_an_error(ratio: float) -> None:
    with pytest.raises(UserError, match=r"mae\.mask_ratio"):
        kept(16, ratio)


def test_grid_sampling_is_fixed_at_three_quarters() -> None:
    assert MaeOptions(sampling="grid").mask_ratio == 0.75
    with pytest.raises(UserError, match=r"mae\.mask_ratio: 0\.5.*grid.*valid: 0\.75"):
        MaeOptions(sampling="grid", mask_ratio=0.5)
    with pytest.raises(UserError, match=r"mae\.sampling: 'grid'.*7 x 4"):
        check_grid(7, 4)


def test_blocks_differ_between_samples() -> None:
    ids = sample_block(Draws(0, 20), (14, 14), 49).ids_keep.sort(dim=1).values
    assert len({tuple(row) for row in ids.tolist()}) == 20


def _visible(masking: Masking, grid: tuple[int, int] = (14, 14)) -> np.ndarray:
    """bool [N, rows, columns]."""
    visible = torch.zeros(len(masking.ids_keep), grid[0] * grid[1], dtype=torch.bool)
    return visible.scatter(1, masking.ids_keep, True).view(-1, *grid).numpy()
