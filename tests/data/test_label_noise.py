"""Label noise: what every operator keeps to, what each does, and how much of it there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from bench.data.label_noise import OPERATORS, corrupt, corrupt_masks, realised
from bench.data.land_cover import generate
from bench.data.objects import objects
from bench.data.raw import IGNORE
from bench.stats.plane import information_loss

NAMES = list(OPERATORS)
CLASSES = 6
IMAGES = np.arange(50)


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    """uint8 [50, 32, 32] of land cover, a strip of it ignored."""
    found = generate(0, 32, 3)[1]
    found[:, 10:13, 5:20] = IGNORE
    return found


def one(mask: np.ndarray, noise: str, rate: float, seed: int = 0, n_classes: int = CLASSES) -> np.ndarray:
    return corrupt(mask, noise, rate, n_classes, np.random.default_rng(seed))


@given(
    noise=st.sampled_from(NAMES),
    size=st.tuples(st.integers(4, 20), st.integers(4, 20)),
    rate=st.floats(0, 1),
    coarse=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=120, deadline=None)
def test_every_operator_keeps_shape_classes_and_ignored_pixels(
    noise: str, size: tuple[int, int], rate: float, coarse: int, seed: int
) -> None:
    numbers = np.random.default_rng(seed)
    small = numbers.integers(0, 5, [-(-side // coarse) for side in size])
    mask = np.kron(small, np.ones((coarse, coarse)))[: size[0], : size[1]].astype(np.uint8)
    mask[mask == 4] = IGNORE
    before = mask.copy()
    noisy = one(mask, noise, rate, seed, 4)
    assert np.array_equal(mask, before)
    assert (noisy.shape, noisy.dtype) == (mask.shape, np.uint8)
    assert np.array_equal(noisy == IGNORE, mask == IGNORE)
    assert noisy[mask != IGNORE].max(initial=0) < 4
    assert np.array_equal(noisy, one(mask, noise, rate, seed, 4))
    assert np.array_equal(one(mask, noise, 0.0, seed, 4), mask)


@pytest.mark.parametrize("noise", [*NAMES, "permuted"])
def test_more_rate_is_more_noise(noise: str, masks: np.ndarray) -> None:
    found = [
        realised(masks, corrupt_masks(masks, IMAGES, noise, rate, CLASSES, 3), CLASSES).pixel_rate
        for rate in (0, 0.25, 0.5, 1)
    ]
    assert found[0] == 0
    assert found == sorted(set(found))


@pytest.mark.parametrize("noise", ["flip", "flip_pixels", "class_conditional"])
def test_flips_touch_every_pixel_at_rate_one_and_as_many_as_asked_below(noise: str, masks: np.ndarray) -> None:
    everything, some = (corrupt_masks(masks, IMAGES, noise, rate, CLASSES, 3) for rate in (1.0, 0.4))
    assert realised(masks, everything, CLASSES).pixel_rate == 1
    assert realised(masks, some, CLASSES).pixel_rate == pytest.approx(0.4, abs=0.01 if noise == "flip_pixels" else 0.12)


def test_symmetric_flips_go_to_every_other_class_alike(masks: np.ndarray) -> None:
    confusion = realised(masks, corrupt_masks(masks, IMAGES, "flip_pixels", 1, CLASSES, 0), CLASSES).confusion
    shares = confusion / confusion.sum(1, keepdims=True)
    np.testing.assert_allclose(shares[~np.eye(CLASSES, dtype=bool)], 1 / (CLASSES - 1), atol=0.05)


def test_object_flips_change_whole_objects(masks: np.ndarray) -> None:
    places, labels = objects(masks[0], CLASSES)
    noisy = one(masks[0], "flip", 0.5)
    new = [np.unique(noisy[places == number + 1]) for number in range(len(labels))]
    assert all(len(found) == 1 for found in new)
    assert 0 < sum(int(found[0]) != label for found, label in zip(new, labels, strict=True)) < len(labels)


def test_a_renaming_of_the_classes_loses_nothing(masks: np.ndarray) -> None:
    found = realised(masks, corrupt_masks(masks, IMAGES, "class_conditional", 1, CLASSES, 0), CLASSES)
    assert (found.pixel_rate, found.information_loss) == (1, pytest.approx(0, abs=1e-9))


def square(side: int = 40) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[12:24, 15:27] = 1
    return mask


def test_what_each_operator_does_to_a_square() -> None:
    mask = square()
    area = (mask == 1).sum()
    found = {noise: one(mask, noise, 1, 5, 2) == 1 for noise in NAMES}
    assert not found["remove"].any()
    assert found["dilation"].sum() > area
    assert (found["dilation"] | (mask == 1)).sum() == found["dilation"].sum()
    assert 0 < found["erosion"].sum() < area
    assert not (found["erosion"] & (mask != 1)).any()
    assert found["shift"].sum() == area
    assert not np.array_equal(found["shift"], mask == 1)
    assert found["rotation"].sum() == pytest.approx(area, rel=0.1)
    middle = np.argwhere(found["rotation"]).mean(0)
    np.testing.assert_allclose(middle, np.argwhere(mask == 1).mean(0), atol=1)
    assert found["add"].sum() > area
    assert found["add"][mask == 1].all()
    assert 0 < found["stale"].sum() <= area
    assert np.array_equal(found["class_conditional"], mask == 0)


def test_a_shift_is_at_most_half_the_extent() -> None:
    mask = square()
    for seed in range(40):
        way = np.argwhere(one(mask, "shift", 1, seed, 2) == 1).mean(0) - np.argwhere(mask == 1).mean(0)
        assert abs(way).max() <= 6


def test_coarsening_votes_within_blocks() -> None:
    mask = np.zeros((16, 16), np.uint8)
    mask[0, 0], mask[2:4, 2:4] = 1, 1
    assert np.array_equal(one(mask, "coarsen", 1, 0, 2) == 1, np.isin(np.arange(256), [34, 35, 50, 51]).reshape(16, 16))


def test_an_object_that_nothing_surrounds_stays() -> None:
    mask = np.full((8, 8), IGNORE, np.uint8)
    mask[2:5, 2:5], mask[6, 6] = 1, 0
    for noise in NAMES:
        assert np.array_equal(one(mask, noise, 1, 1, 2) == IGNORE, mask == IGNORE)


def test_the_noise_of_an_image_depends_on_its_number_alone(masks: np.ndarray) -> None:
    order = np.random.default_rng(0).permutation(50)
    for noise in (*NAMES, "permuted"):
        straight = corrupt_masks(masks, IMAGES, noise, 0.5, CLASSES, 1)
        assert np.array_equal(corrupt_masks(masks[order], IMAGES[order], noise, 0.5, CLASSES, 1), straight[order])
        assert not np.array_equal(corrupt_masks(masks, IMAGES, noise, 0.5, CLASSES, 2), straight)
    part = corrupt_masks(masks[3:6], IMAGES[3:6], "shift", 0.5, CLASSES, 1)
    assert np.array_equal(part, corrupt_masks(masks, IMAGES, "shift", 0.5, CLASSES, 1)[3:6])


def test_a_higher_rate_touches_what_a_lower_one_does(masks: np.ndarray) -> None:
    for noise in ("flip", "flip_pixels", "class_conditional", "coarsen"):
        low, high = (corrupt_masks(masks, IMAGES, noise, rate, CLASSES, 1) for rate in (0.3, 0.6))
        touched = low != masks
        assert np.array_equal(high[touched], low[touched]), noise


def test_permuted_masks_are_those_of_other_images(masks: np.ndarray) -> None:
    whole = generate(0, 32, 3)[1]
    noisy = corrupt_masks(whole, IMAGES, "permuted", 1, CLASSES, 0)
    source = [[int(n) for n in IMAGES if np.array_equal(whole[n], mask)] for mask in noisy]
    assert sorted(number for found in source for number in found) == list(IMAGES)
    assert all(found != [number] for number, found in enumerate(source))
    assert realised(whole, noisy, CLASSES).information_loss > 0.95


def test_a_share_of_the_images_stays_clean(masks: np.ndarray) -> None:
    noisy = corrupt_masks(masks, IMAGES, "flip_pixels", 1, CLASSES, 0, clean_share=0.4)
    clean = [np.array_equal(before, after) for before, after in zip(masks, noisy, strict=True)]
    assert 10 < sum(clean) < 30
    assert np.array_equal(corrupt_masks(masks, IMAGES, "flip", 1, CLASSES, 0, clean_share=1.0), masks)
    assert np.array_equal(corrupt_masks(masks, IMAGES, "none", 1, CLASSES, 0), masks)


@pytest.mark.parametrize("noise", ["flip", "flip_pixels", "stale"])
def test_what_is_measured_agrees_with_other_counts(noise: str, masks: np.ndarray) -> None:
    noisy = corrupt_masks(masks, IMAGES, noise, 0.3, CLASSES, 0)
    known = masks != IGNORE
    found = realised(masks, noisy, CLASSES)
    assert np.array_equal(found.confusion, confusion_matrix(masks[known], noisy[known], labels=range(CLASSES)))
    assert found.pixel_rate == pytest.approx((masks[known] != noisy[known]).mean())
    assert found.information_loss == pytest.approx(information_loss(masks[known], noisy[known]))


def test_symmetric_noise_has_the_loss_of_its_channel() -> None:
    masks = np.tile(np.arange(4, dtype=np.uint8), (16, 128, 32))
    found = realised(masks, corrupt_masks(masks, np.arange(16), "flip_pixels", 0.3, 4, 0), 4)
    channel = -(0.7 * np.log(0.7) + 0.3 * np.log(0.1)) / np.log(4)
    assert found.information_loss == pytest.approx(channel, abs=0.01)


def test_nothing_known_and_nothing_to_lose() -> None:
    ignored, plain = np.full((2, 3, 3), IGNORE, np.uint8), np.zeros((2, 3, 3), np.uint8)
    assert realised(ignored, ignored, 3)[1:] == (0, 0)
    assert realised(plain, plain + 1, 3)[1:] == (1, 0)
