"""What shows the same and what stays together: against brute force and libraries, whatever the order of the images."""

from __future__ import annotations

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from bench.data.audit.clusters import groups_of
from bench.data.duplicates import (
    MAX_CLUSTER,
    clusters,
    join_groups,
    keep_near,
    most_together,
    within_splits,
)
from bench.data.near import ALIKE, FAR, SIDE, close_pairs, grey_copies, near_clusters, perceptual_hashes


def pictures(count: int, side: int = 48, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Smooth pictures, as photographs are: uint8 [count, side, side, channels]."""
    noise = np.random.default_rng(seed).normal(size=(count, side, side, channels))
    smooth = gaussian_filter(noise, (0, side / 20, side / 20, 0))
    low, high = smooth.min((1, 2, 3), keepdims=True), smooth.max((1, 2, 3), keepdims=True)
    return np.rint((smooth - low) * 180 / (high - low) + 10).astype(np.uint8)


def found(images: np.ndarray) -> np.ndarray:
    return near_clusters(perceptual_hashes(images), lambda rows: grey_copies(images[rows]))


@st.composite
def hashes(draw: st.DrawFn) -> np.ndarray:
    """Hashes that lie around a few centres, so that close ones occur, and some equal ones."""
    seed = draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    centres = generator.integers(0, 2**63, 4, dtype=np.uint64)
    values = centres[generator.integers(0, 4, draw(st.integers(2, 60)))]
    for _ in range(draw(st.integers(0, 10))):
        values = values ^ np.where(
            generator.random(len(values)) < 0.7,
            np.uint64(1) << generator.integers(0, 64, len(values), dtype=np.uint64),
            0,
        ).astype(np.uint64)
    return values


@given(hashes(), st.integers(0, 12))
@settings(deadline=None, max_examples=60)
def test_banding_misses_no_close_pair_and_finds_each_once(values: np.ndarray, far: int) -> None:
    wanted = sorted(
        (one, two)
        for one in range(len(values))
        for two in range(one + 1, len(values))
        if int(values[one] ^ values[two]).bit_count() <= far
    )
    pairs = np.concatenate([np.empty((0, 2), np.int64), *close_pairs(values, far)])
    assert sorted(map(tuple, np.sort(pairs, axis=1).tolist())) == wanted


@pytest.mark.parametrize(("side", "channels"), [(48, 3), (64, 1), (100, 3), (20, 1)])
def test_hashes_are_those_of_imagehash(side: int, channels: int) -> None:
    images = np.random.default_rng(side).integers(0, 256, (30, side, side, channels), np.uint8)
    for image, value in zip(images, perceptual_hashes(images), strict=True):
        picture = Image.fromarray(image if channels == 3 else image[:, :, 0])
        wanted = int.from_bytes(np.packbits(imagehash.phash(picture).hash.ravel()).tobytes(), "big")
        assert (int(value) ^ wanted).bit_count() <= 2  # it rounds to whole grey values before the transform


def test_small_copies_are_means_of_areas() -> None:
    images = pictures(3, 2 * SIDE, channels=1)
    means = images.reshape(3, SIDE, 2, SIDE, 2).mean((2, 4))
    assert np.abs(grey_copies(images) / 256 - means).max() <= 0.01
    enlarged = pictures(1, 8, channels=1)
    np.testing.assert_allclose(
        grey_copies(enlarged)[0] / 256, enlarged[0, :, :, 0].repeat(3, 0).repeat(3, 1), atol=0.01
    )


def test_one_image_has_one_hash_in_any_company() -> None:
    images = pictures(9, 64)
    alone = np.concatenate([perceptual_hashes(images[row : row + 1]) for row in range(9)])
    np.testing.assert_array_equal(perceptual_hashes(np.concatenate([images, pictures(500, 64, 7)]))[:9], alone)


def test_images_of_any_shape_are_looked_at() -> None:
    assert len(perceptual_hashes(np.arange(9, dtype=np.uint8).reshape(3, 1, 1, 3))) == 3
    large = pictures(2, 70, channels=1).repeat(30, 1).repeat(30, 2)
    assert found(np.concatenate([large, large // 2 + 60])).tolist() == [0, 1, 0, 1]
    long = np.random.default_rng(0).integers(0, 255, (2, 20_000, 3, 1), np.uint8)
    assert len(np.unique(perceptual_hashes(long))) == 2
    assert len(found(np.empty((0, 8, 8, 3), np.uint8))) == 0


def test_bands_beyond_three_are_left_alone() -> None:
    images = pictures(4, channels=5)
    np.testing.assert_array_equal(perceptual_hashes(images), perceptual_hashes(images[..., :3]))
    np.testing.assert_array_equal(grey_copies(images[..., :2]), grey_copies(images[..., :1]))


def test_brightness_and_contrast_play_no_part_and_a_blank_is_like_nothing() -> None:
    image, other = pictures(2) // 3 + 60
    blank = np.full_like(image, 90)
    names = found(np.stack([image, image + 30, image * 2 - 60, other, blank, blank]))
    assert names.tolist() == [0, 0, 0, 3, 4, 5]


@given(st.integers(0, 999), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25)
def test_clusters_are_those_of_brute_force_in_any_order(seed: int, random: object) -> None:
    generator = np.random.default_rng(seed)
    base = pictures(4, 32, seed)[generator.integers(0, 4, 30)].astype(float)
    images = (base + generator.normal(size=base.shape) * generator.choice([3, 25], (30, 1, 1, 1))).clip(0, 255)
    images = images.astype(np.uint8)
    small, values = grey_copies(images).reshape(30, -1).astype(float), perceptual_hashes(images)
    bits = np.bitwise_count(values[:, None] ^ values[None])
    correlation = np.corrcoef(small)
    if (np.abs(correlation - ALIKE) < 1e-4).any():
        return  # a tie within what the rounding of the copies may move
    linked = (bits <= FAR) & (correlation >= ALIKE)
    reached = np.linalg.matrix_power(linked.astype(float), 30) > 0
    np.testing.assert_array_equal(found(images), reached.argmax(1))
    order = np.array(random.sample(range(30), 30))
    mixed = found(images[order])
    assert {frozenset(order[rows].tolist()) for rows in groups_of(mixed)} == {
        frozenset(rows.tolist()) for rows in groups_of(found(images))
    }


def test_a_thousand_frames_of_one_scene_ask_for_each_copy_once() -> None:
    frames = pictures(1, 32).repeat(1000, 0) + np.random.default_rng(0).integers(0, 3, (1000, 32, 32, 3), np.uint8)
    asked: list[int] = []

    def copies(rows: np.ndarray) -> np.ndarray:
        asked.extend(rows.tolist())
        return grey_copies(frames[rows])

    assert not near_clusters(perceptual_hashes(frames), copies).any()
    assert len(asked) == len(set(asked))


def test_groups_of_names() -> None:
    names = np.array([b"x", b"y", b"x", b"z", b"y", b"x"], "S32")
    assert [rows.tolist() for rows in groups_of(names)] == [[0, 2, 5], [1, 4]]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12)), min_size=1, max_size=40))
@settings(deadline=None)
def test_joined_groups_hold_copies_together_and_nothing_else(pairs: list[tuple[int, int]]) -> None:
    groups, named = np.array([group for group, _ in pairs]), np.array([content for _, content in pairs])
    contents = np.array([int(np.flatnonzero(named == content)[0]) for content in named])
    joined = join_groups(groups, contents)
    for row in range(len(pairs)):  # reachability, the slow way
        reached, grown = {row}, True
        while grown:
            more = {
                other
                for other in range(len(pairs))
                if any(groups[other] == groups[one] or contents[other] == contents[one] for one in reached)
            }
            grown, reached = len(more) > len(reached), more
        assert set(np.flatnonzero(joined == joined[row])) == reached
        assert joined[row] == groups[sorted(reached)].min()


def test_groups_without_common_images_stay_as_they_are_and_blanks_join_nothing() -> None:
    groups = np.array([7, 7, 3, 3, 9])
    np.testing.assert_array_equal(join_groups(groups, np.arange(5)), groups)
    many = np.arange(MAX_CLUSTER + 1)
    np.testing.assert_array_equal(join_groups(many, np.zeros(len(many), np.int64)), many)
    assert len(np.unique(clusters(np.zeros(len(many), np.int64)))) == 2


def named(sizes: list[int], count: int) -> np.ndarray:
    """Clusters of these sizes, the first images of all, named by their first image; the rest alone."""
    names = np.arange(count)
    for start, stop in zip(np.cumsum([0, *sizes]), np.cumsum(sizes), strict=False):
        names[start:stop] = start
    return names


@pytest.mark.parametrize(("count", "most"), [(10, 2), (50, 5), (200, 20), (1999, 20), (13_500, 135)])
def test_a_chain_of_more_than_one_percent_joins_nothing_and_is_counted(count: int, most: int) -> None:
    assert most_together(count) == most
    near = named([most, most + 1], count)
    together = keep_near(np.arange(count), near)
    assert (together.groups[:most] == 0).all()
    np.testing.assert_array_equal(together.groups[most:], np.arange(most, count))
    assert together.counts == (most, 1, most + 1, 1)


def test_near_duplicates_join_given_groups_but_never_a_tenth_of_the_images() -> None:
    patients = np.arange(1000) // 40  # 25 of them
    near = np.arange(1000)
    near[45] = 5  # of the first two patients
    assert set(keep_near(patients, near).groups[:80]) == {0}
    assert keep_near(patients, near).counts == (2, 1, 0, 0)
    near[[85, 125]] = [46, 86]  # four patients, 160 images
    together = keep_near(patients, near)
    np.testing.assert_array_equal(together.groups, patients)
    assert together.counts == (0, 0, 6, 3)


def test_a_large_cluster_within_one_given_group_stays_with_it() -> None:
    patients = np.arange(200) // 50
    together = keep_near(patients, named([50], 200))
    np.testing.assert_array_equal(together.groups, patients)
    assert together.counts == (50, 1, 0, 0)


def test_clusters_that_the_given_splits_part_are_cut_there() -> None:
    near = np.array([0, 0, 0, 3, 0])
    official = np.array([0, 1, 0, 1, 1], np.int8)
    assert within_splits(near, official).tolist() == [0, 1, 0, 3, 1]
    assert within_splits(near, None).tolist() == near.tolist()
