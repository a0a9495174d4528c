"""Splits and draws: properties over random data sets, and the messages."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench.data.duplicates import keep_near, within_splits
from bench.data.images import ImageStore
from bench.data.partition import is_partition, partition, subset
from bench.data.raw import TEST, TRAIN, VALIDATION
from bench.data.splits import SPLIT_NAMES, Splits, load_splits
from bench.errors import UserError


def store(labels: list[int], **known: np.ndarray | None) -> ImageStore:
    count, classes = len(labels), max(labels) + 1
    fields = {"groups": np.arange(count), "contents": np.arange(count), "official": None} | known
    return ImageStore(
        folder=Path(), images=np.zeros((count, 1, 1, 1), np.uint8), labels=np.array(labels, np.int64),
        moments=np.zeros((count, 2, 1), np.int64), class_names=tuple("abcdefghijkl"[:classes]), fingerprint="f",
        skipped=(), **fields,
    )  # fmt: skip


def numbered(classes: int, each: int) -> list[int]:
    return [index % classes for index in range(classes * each)]


@st.composite
def stores(draw: st.DrawFn) -> ImageStore:
    labels = draw(st.lists(st.integers(-1, 3), min_size=60, max_size=150))
    assume(max(labels) >= 1)
    count = len(labels)
    numbers = np.random.default_rng(draw(st.integers(0, 99)))
    groups = numbers.integers(0, draw(st.integers(15, 2 * count)), count)
    contents = np.arange(count)
    copies = numbers.integers(0, count, draw(st.integers(0, 8)))
    contents[copies] = copies.min(initial=count - 1)
    official = None
    if draw(st.booleans()):
        official = numbers.choice([TRAIN, VALIDATION, TEST], count, p=[0.6, 0.1, 0.3]).astype(np.int8)
        official[np.array(labels) < 0] = TRAIN
    return store(labels, groups=groups, contents=contents, official=official)


def parted(known: ImageStore, **options: float | int | np.ndarray | None) -> Splits:
    try:
        return partition(known, **options)
    except UserError:  # random data may leave a split empty, which is an error of its own
        assume(False)
        raise


class TestPartition:
    @given(stores())
    @settings(max_examples=60, deadline=None)
    def test_disjoint_and_complete_but_for_copies(self, known: ImageStore) -> None:
        splits = parted(known)
        together = np.concatenate([splits.train, splits.validation, splits.test])
        assert len(together) == len(set(together.tolist()))
        missing = np.setdiff1d(np.arange(len(known.labels)), together)
        held = np.concatenate([splits.validation, splits.test])
        copies = np.isin(known.contents[missing], known.contents[held])
        silent = (known.labels[missing] < 0) & np.isin(known.groups[missing], known.groups[held])
        assert (copies | silent).all()
        assert (known.labels[held] >= 0).all()
        for indices in (splits.train, splits.validation, splits.test):
            assert (np.diff(indices) > 0).all()
            assert indices.dtype == np.int64

    @given(stores())
    @settings(max_examples=60, deadline=None)
    def test_nothing_leaks_into_the_train_pool(self, known: ImageStore) -> None:
        splits = parted(known)
        contents = known.contents
        assert not np.isin(contents[splits.train], contents[splits.test]).any()
        assert not np.isin(contents[splits.train], contents[splits.validation]).any()
        assert not np.isin(contents[splits.validation], contents[splits.test]).any()
        if known.official is None:
            parts = [set(known.groups[getattr(splits, name)]) for name in SPLIT_NAMES]
            assert not parts[0] & parts[1]
            assert not parts[0] & parts[2]
            assert not parts[1] & parts[2]

    @given(stores())
    @settings(max_examples=30, deadline=None)
    def test_official_splits_are_kept(self, known: ImageStore) -> None:
        assume(known.official is not None)
        splits = parted(known)
        np.testing.assert_array_equal(splits.test, np.flatnonzero(known.official == TEST))
        assert (known.official[splits.train] == TRAIN).all()
        if (known.official[splits.validation] == VALIDATION).any():
            assert (known.official[splits.validation] == VALIDATION).all()

    @given(stores())
    @settings(max_examples=20, deadline=None)
    def test_the_same_every_time_and_another_for_other_data(self, known: ImageStore) -> None:
        first = parted(known)
        again = partition(known)
        assert first.digest == again.digest
        np.testing.assert_array_equal(first.train, again.train)
        assert parted(replace(known, fingerprint="g")).digest != first.digest

    @given(stores(), st.integers(0, 99), st.sampled_from([None, 0.4]))
    @settings(max_examples=60, deadline=None)
    def test_no_cluster_of_near_duplicates_is_split(self, known: ImageStore, seed: int, upstream: float | None) -> None:
        count = len(known.labels)
        drawn = np.random.default_rng(seed).integers(0, count, count)
        _, first, inverse = np.unique(drawn, return_index=True, return_inverse=True)
        near = within_splits(first[inverse], known.official)
        together = keep_near(known.groups, near)
        splits = parted(known, groups=together.groups, upstream=upstream)
        official = set() if known.official is None else set(known.official.tolist())
        given_parts = {name for name, code in (("validation", VALIDATION), ("test", TEST)) if code in official}
        names = [name for name in SPLIT_NAMES if name not in given_parts] + ["upstream"] * (upstream is not None)
        for one, two in itertools.combinations([getattr(splits, name) for name in names], 2):
            assert not np.isin(together.groups[one], together.groups[two]).any()
            shared = np.intersect1d(near[one], near[two])
            assert together.apart[np.isin(near, shared)].all()

    def test_groups_name_what_is_in_use_and_the_digest_knows_them(self, tmp_path: Path) -> None:
        known = store([*numbered(3, 40), *[-1] * 30])
        groups = np.arange(150)
        groups[60:90] = np.arange(30, 60)
        groups[120:] = np.arange(30)  # unlabelled copies: those of held-out images are in no split
        splits = partition(known, groups=groups)
        parts = np.concatenate([splits.train, splits.validation, splits.test])
        unused = np.setdiff1d(np.arange(150), parts)
        assert len(unused) > 0
        np.testing.assert_array_equal(splits.groups[parts], groups[parts])
        np.testing.assert_array_equal(splits.groups[unused], unused)
        splits.save(tmp_path)
        again = load_splits(tmp_path, splits.digest, known.labels, known.groups, known.class_names)
        np.testing.assert_array_equal(again.groups, splits.groups)
        assert is_partition(known, again)
        assert not is_partition(known, replace(again, groups=known.groups))
        assert partition(known).digest != splits.digest
        assert partition(known, groups=known.groups).digest == partition(known).digest

    def test_unlabelled_images_stay_in_the_train_pool(self) -> None:
        splits = partition(store([*numbered(3, 30), *[-1] * 40]))
        assert (splits.labels[splits.train] == -1).sum() == 40
        assert splits.pool_counts.sum() == len(splits.labelled) == len(splits.train) - 40

    @pytest.mark.parametrize("shares", [(0.15, 0.2), (0.1, 0.5)])
    def test_single_images_are_stratified_exactly(self, shares: tuple[float, float]) -> None:
        labels = [0] * 400 + [1] * 100 + [2] * 20
        splits = partition(store(labels), validation=shares[0], test=shares[1])
        tests = np.bincount(splits.labels[splits.test])
        assert tests.tolist() == [int(400 * shares[1]), int(100 * shares[1]), int(20 * shares[1])]
        rest = np.array([400, 100, 20]) - tests
        held = np.bincount(splits.labels[splits.validation])
        assert held.tolist() == (rest * shares[0] + 0.5).astype(int).tolist()

    def test_groups_are_balanced_as_well_as_they_allow(self) -> None:
        labels = numbered(10, 180)
        splits = partition(store(labels, groups=np.arange(1800) * 13 // 1800))
        assert 0.1 < len(splits.test) / 1800 < 0.3
        assert 0.05 < len(splits.validation) / 1800 < 0.25
        counts = np.bincount(splits.labels[splits.test])
        assert counts.max() - counts.min() <= 3

    def test_a_split_that_would_be_empty_is_an_error(self) -> None:
        with pytest.raises(UserError, match=r"no images for validation and test \(train 40, validation 0, test 0\)"):
            partition(store(numbered(2, 20), groups=np.zeros(40, np.int64)))


class TestSubsets:
    @given(st.lists(st.integers(-1, 3), min_size=1, max_size=80), st.integers(1, 90))
    @settings(deadline=None)
    def test_keeps_shares_and_classes(self, labels: list[int], most: int) -> None:
        array, indices = np.array(labels), np.arange(len(labels))
        kept = subset(array, indices, most, "x")
        assert len(kept) == min(most, len(labels))
        present = set(labels)
        if most >= len(present):
            assert set(array[kept]) == present
        if most >= 2 * len(present):
            for label in present:
                share = labels.count(label) * min(1, most / len(labels))
                assert abs((array[kept] == label).sum() - share) <= len(present)

    @given(st.lists(st.integers(0, 3), min_size=10, max_size=80), st.integers(1, 9))
    @settings(deadline=None)
    def test_smaller_ones_lie_in_larger_ones(self, labels: list[int], most: int) -> None:
        array, indices = np.array(labels), np.arange(len(labels))
        assert set(subset(array, indices, most, "x")) <= set(subset(array, indices, most + 1, "x"))

    @pytest.mark.parametrize("official", [None, np.array([TRAIN, TRAIN, TRAIN, VALIDATION, TEST] * 60, np.int8)])
    def test_limits_hold(self, official: np.ndarray | None) -> None:
        known = store(numbered(3, 100), official=official)
        splits = partition(known, max_train=60, max_test=30)
        assert len(splits.train) + len(splits.validation) == 60
        assert len(splits.validation) == 9
        assert len(splits.test) == 30
        whole = partition(known)
        assert set(splits.test) <= set(whole.test)
        assert np.bincount(splits.labels[splits.test]).tolist() == [10, 10, 10]


@pytest.fixture(scope="module")
def splits() -> Splits:
    return partition(store([*[0] * 60, *[1] * 40, *[2] * 100, *[-1] * 10]))


class TestDraws:
    @given(draw=st.integers(0, 20), small=st.integers(1, 26), more=st.integers(0, 20))
    @settings(deadline=None)
    def test_budgets_nest_and_are_balanced(self, splits: Splits, draw: int, small: int, more: int) -> None:
        large = min(small + more, 26)
        one, two = splits.budget(str(small), draw), splits.budget(str(large), draw)
        np.testing.assert_array_equal(one, two[: len(one)])
        assert np.bincount(splits.labels[two]).tolist() == [large] * 3
        assert len(set(two.tolist())) == len(two)
        assert np.isin(two, splits.train).all()

    @given(draw=st.integers(0, 20), small=st.integers(1, 20), more=st.integers(0, 20))
    @settings(deadline=None)
    def test_uniform_draws_nest_too(self, splits: Splits, draw: int, small: int, more: int) -> None:
        one = splits.budget(str(small), draw, "uniform")
        two = splits.budget(str(small + more), draw, "uniform")
        np.testing.assert_array_equal(one, two[: len(one)])
        assert len(set(two.tolist())) == len(two) == 3 * (small + more)
        assert np.isin(two, splits.labelled).all()

    def test_uniform_draws_follow_the_pool(self, splits: Splits) -> None:
        drawn = np.concatenate([splits.budget("5", draw, "uniform") for draw in range(300)])
        shares = np.bincount(splits.labels[drawn]) / len(drawn)
        np.testing.assert_allclose(shares, splits.pool_counts / splits.pool_counts.sum(), atol=0.03)

    def test_draws_differ_and_do_not_depend_on_the_order_of_calls(self, splits: Splits) -> None:
        first = [splits.budget("5", draw) for draw in range(6)]
        again = [splits.budget("5", draw) for draw in reversed(range(6))][::-1]
        assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
        assert len({tuple(sorted(draw)) for draw in first}) == 6

    def test_every_image_is_drawn_equally_often(self, splits: Splits) -> None:
        drawn = np.concatenate([splits.budget("8", draw) for draw in range(400)])
        of_class = [(drawn == index).sum() for index in splits.train if splits.labels[index] == 1]
        wanted = 400 * 8 / len(of_class)
        assert np.abs(np.array(of_class) - wanted).max() < 5 * wanted**0.5

    def test_all_is_the_labelled_pool(self, splits: Splits) -> None:
        np.testing.assert_array_equal(splits.budget("all", 0), splits.labelled)
        assert (splits.labels[splits.budget("all", 0)] >= 0).all()

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            (("28", 0), r"budget 28 .* smallest class .* 'b' with 27; the largest valid budget is 27"),
            (("0", 0), "'0' is neither a positive number"),
            (("few", 0), "'few' is neither a positive number"),
            (("all", 1), "'all' has one draw, 0; draw 1"),
            (("46", 0, "uniform"), r"46 x 3 classes .* train pool of 136; the largest valid budget is 45"),
        ],
    )
    def test_mistakes_are_named(self, splits: Splits, asked: tuple[str, int], message: str) -> None:
        with pytest.raises(UserError, match=message):
            splits.budget(*asked)


def test_the_table_is_saved_and_read_back(tmp_path: Path) -> None:
    known = store(numbered(3, 40), groups=np.arange(120) // 2)
    splits = partition(known)
    splits.save(tmp_path)
    table = pl.read_parquet(tmp_path / "splits" / f"{splits.digest}.parquet")
    assert table.columns == ["item", "index", "split", "label", "group"]
    tests = table.filter(pl.col("split") == "test")
    assert tests["item"].to_list() == list(range(len(splits.test)))
    assert tests["index"].to_list() == splits.test.tolist()
    assert tests["label"].to_list() == splits.labels[splits.test].tolist()
    assert tests["group"].to_list() == known.groups[splits.test].tolist()
    again = load_splits(tmp_path, splits.digest, known.labels, known.groups, known.class_names)
    for name in SPLIT_NAMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(splits, name))
    assert load_splits(tmp_path, "other", known.labels, known.groups, known.class_names) is None
