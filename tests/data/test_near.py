"""Near pairs and clusters: against brute force, and the same whatever the order of the images."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.audit.near import ALIKE, close_pairs, clusters_of, grey_copies, groups_of
from bench.data.duplicates import MAX_CLUSTER, clusters, join_groups


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
def test_banding_misses_no_close_pair_and_adds_none(values: np.ndarray, far: int) -> None:
    wanted = {
        (one, two)
        for one in range(len(values))
        for two in range(one + 1, len(values))
        if int(values[one] ^ values[two]).bit_count() <= far
    }
    assert {(int(one), int(two)) for one, two in close_pairs(values, far)} == wanted


@given(hashes(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_clusters_do_not_depend_on_the_order_of_images(values: np.ndarray, random: object) -> None:
    order = np.array(random.sample(range(len(values)), len(values)))
    plain = {frozenset(rows.tolist()) for rows in clusters_of(close_pairs(values), len(values))}
    mixed = {frozenset(order[rows].tolist()) for rows in clusters_of(close_pairs(values[order]), len(values))}
    assert plain == mixed


def test_brightness_and_contrast_play_no_part_and_a_blank_is_like_nothing() -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(60, 120, (24, 24, 3)).astype(np.uint8)
    other = generator.integers(60, 120, (24, 24, 3)).astype(np.uint8)
    blank = np.full((24, 24, 3), 90, np.uint8)
    copies = grey_copies(np.stack([image, image + 30, image * 2, other, blank, blank]))
    alike = copies @ copies.T >= ALIKE
    assert alike[:3, :3].all()
    assert not alike[3:, :3].any()
    assert not alike[4, 5]


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
