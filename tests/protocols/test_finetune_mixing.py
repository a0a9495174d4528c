"""RandAugment, random erasing, mixup and cutmix of fine-tuning."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.errors import UserError
from bench.protocols.mixing import Mixing
from bench.study.protocols import FinetuneOptions

VALUES = torch.tensor([0.0, 0.3, 1.0])  # the grey level of each class
LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 2])


def mixing(channels: int = 1, **options: object) -> Mixing:
    return Mixing(FinetuneOptions(**options), 3, [0.4] * channels, [0.2] * channels)


def grey() -> Tensor:
    """Images that are their class's grey level all over."""
    return VALUES[LABELS].view(-1, 1, 1, 1).expand(-1, 1, 8, 8).clone()


def noise(channels: int = 1, count: int = 200) -> Tensor:
    return torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}])
def test_targets_are_mixed_as_the_pixels_are(options: dict) -> None:
    shares = []
    for seed in range(12):
        images, targets = mixing(**options)(grey(), LABELS, seed)
        assert targets.sum(1).numpy() == pytest.approx(np.ones(8))
        assert images.mean((1, 2, 3)).numpy() == pytest.approx((targets @ VALUES).numpy(), abs=1e-6)
        shares.append(float(targets.max(1).values.min()))
    assert len({round(share, 4) for share in shares}) > 6  # every batch draws its own


def test_mixup_blends_and_cutmix_pastes() -> None:
    blended, _ = mixing(mixup=5.0)(grey(), LABELS, 0)
    pasted, _ = mixing(cutmix=5.0)(grey(), LABELS, 0)
    assert all(len(image.unique()) == 1 for image in blended)
    assert not torch.isin(blended, VALUES).all()
    assert torch.isin(pasted, VALUES).all()
    assert any(len(image.unique()) == 2 for image in pasted)


def test_both_take_turns() -> None:
    both = mixing(mixup=5.0, cutmix=5.0)
    pasted = [bool(torch.isin(both(grey(), LABELS, seed)[0], VALUES).all()) for seed in range(60)]
    assert 15 < sum(pasted) < 45


def test_erased_rectangles_are_noise_and_the_rest_stays() -> None:
    images = noise()
    erased, labels = mixing(erase=0.25)(images, torch.zeros(200, dtype=torch.int64), 0)
    changed = (erased - images).abs() > 1e-4
    share = changed.flatten(1).any(1).float().mean()
    assert 0.15 < share < 0.35
    assert changed.flatten(1).float().mean(1).max() <= 1 / 3 + 0.1
    normal = (erased[changed] - 0.4) / 0.2
    assert normal.mean() == pytest.approx(0, abs=0.15)
    assert normal.std() == pytest.approx(1, abs=0.15)
    assert labels.dtype == torch.int64
    places = changed[changed.flatten(1).any(1)][0, 0].nonzero()
    height, width = (places.max(0).values - places.min(0).values + 1).tolist()
    assert len(places) >= 0.9 * height * width


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_has_operations_of_its_own(channels: int) -> None:
    same = noise(channels, 1).expand(40, -1, -1, -1).clone()
    views, _ = mixing(channels, rand_augment=9)(same, torch.zeros(40, dtype=torch.int64), 0)
    assert views.shape == same.shape
    assert views.min() >= 0
    assert views.max() <= 1
    assert len({view.numpy().tobytes() for view in views}) > 15
    gentle, _ = mixing(channels, rand_augment=1)(same, torch.zeros(40, dtype=torch.int64), 0)
    assert (gentle - same).abs().mean() < (views - same).abs().mean()


def test_randaugment_wants_grey_or_colour() -> None:
    with pytest.raises(UserError, match="1 or 3 channels, these have 4"):
        mixing(4, rand_augment=9)
    mixing(4, mixup=1.0, erase=0.5)


def test_the_seed_is_all_there_is() -> None:
    everything = {"rand_augment": 9, "erase": 0.5, "mixup": 0.8, "cutmix": 1.0}
    before = torch.get_rng_state()
    (one, _), (other, _), (third, _) = (mixing(**everything)(grey(), LABELS, seed) for seed in (1, 1, 2))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_happens_by_default() -> None:
    images = grey()
    assert not mixing().active
    assert mixing()(images, LABELS, 0)[0] is images
