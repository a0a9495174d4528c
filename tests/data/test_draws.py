"""Draws: two workers see what one would, and equal seeds give equal numbers."""

from __future__ import annotations

import pytest
import torch

from bench.data.batches import to_float
from bench.data.draws import Draws


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_slices_of_all_workers_are_the_batch_of_one(world: int) -> None:
    whole = Draws(7, 12)
    parts = [Draws(7, 12, rank, world) for rank in range(world)]
    for kind, shape in [("uniform", ()), ("normal", (3, 2)), ("uniform", (5,))]:
        together = torch.cat([getattr(part, kind)(*shape) for part in parts])
        assert torch.equal(together, getattr(whole, kind)(*shape))


def test_shapes_and_distributions() -> None:
    draws = Draws(0, 4000, rank=1, world=2)
    uniform, normal = draws.uniform(3), draws.normal()
    assert uniform.shape == (2000, 3)
    assert normal.shape == (2000,)
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.02
    assert abs(normal.std() - 1) < 0.05


def test_the_seed_decides() -> None:
    assert torch.equal(Draws(1, 5).uniform(2), Draws(1, 5).uniform(2))
    assert not torch.equal(Draws(1, 5).uniform(2), Draws(2, 5).uniform(2))


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="5 does not divide among 2"):
        Draws(0, 5, world=2)
    with pytest.raises(ValueError, match="rank 2"):
        Draws(0, 4, rank=2, world=2)


def test_global_randomness_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Draws(0, 4).normal(10)
    assert torch.equal(before, torch.get_rng_state())


def test_to_float_is_torchvisions_layout() -> None:
    from torchvision.transforms.functional import to_tensor

    images = torch.randint(0, 256, (3, 5, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    batch = to_float(images)
    assert torch.equal(batch, torch.stack([to_tensor(image) for image in images]))
    assert batch.is_contiguous()
    assert torch.equal(batch, to_float(torch.from_numpy(images)))
    with pytest.raises(TypeError, match="float32"):
        to_float(batch)
