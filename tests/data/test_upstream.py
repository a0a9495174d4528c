"""Images for pretraining alone: none of them is in the pool that label budgets are drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.data.catalog import open_dataset
from bench.data.dense_draws import dense_budget
from bench.data.partition import partition
from bench.data.source import data_key
from bench.data.splits import load_splits
from bench.store.datasets import DataRecord
from bench.study.spec import DataSpec
from tests.data.test_splits import store

LAND = DataSpec(name="land_cover", images=80, image_size=16)


@given(st.integers(0, 99), st.sampled_from([0.2, 0.5, 0.8]))
@settings(max_examples=20, deadline=None)
def test_parted_by_group_and_nothing_else_moves(seed: int, share: float) -> None:
    numbers = np.random.default_rng(seed)
    groups = numbers.integers(0, 60, 150)
    known = store([index % 3 for index in range(150)], groups=groups, contents=np.arange(150))
    before, after = partition(known), partition(known, upstream=share)
    assert after.upstream is not None
    np.testing.assert_array_equal(np.sort(np.concatenate([after.train, after.upstream])), before.train)
    assert not set(groups[after.train]) & set(groups[after.upstream])
    np.testing.assert_array_equal(after.test, before.test)
    np.testing.assert_array_equal(after.validation, before.validation)
    assert len(after.upstream) / len(before.train) == pytest.approx(share, abs=0.1)
    assert after.digest != before.digest
    np.testing.assert_array_equal(after.pretraining, after.upstream)
    np.testing.assert_array_equal(before.pretraining, before.train)


def test_unlabelled_images_are_for_pretraining() -> None:
    labels = [index % 3 for index in range(90)] + [-1] * 60
    splits = partition(store(labels), upstream=0.5)
    assert (splits.labels[splits.train] >= 0).all()
    assert set(range(90, 150)) <= set(splits.upstream.tolist())


def test_copies_do_not_cross() -> None:
    contents = np.arange(120)
    contents[60:] = contents[:60]
    splits = partition(store([index % 3 for index in range(120)], contents=contents), upstream=0.5)
    assert not np.isin(contents[splits.train], contents[splits.upstream]).any()


def test_opened_again_it_is_the_same(tmp_path: Path) -> None:
    spec = LAND.model_copy(update={"upstream": 0.5})
    first = open_dataset(spec, tmp_path)
    record = DataRecord.load(tmp_path, data_key(spec))
    assert (record.n_train, record.n_upstream) == (len(first.splits.train), len(first.splits.upstream))
    assert record.n_pretraining == record.n_upstream
    again = load_splits(
        tmp_path, record.split_digest, first.splits.labels, first.splits.groups, first.splits.class_names
    )
    np.testing.assert_array_equal(again.upstream, first.splits.upstream)
    whole = open_dataset(LAND, tmp_path)
    assert whole.splits.upstream is None
    assert DataRecord.load(tmp_path, data_key(LAND)).n_upstream == 0
    assert whole.splits.digest != first.splits.digest
    np.testing.assert_allclose(first.mean, first.images.images[first.splits.upstream].mean((0, 1, 2)) / 255, rtol=1e-5)


@pytest.mark.parametrize("label_budget", ["4", "all"])
def test_budgets_are_drawn_from_the_rest(label_budget: str, tmp_path: Path) -> None:
    data = open_dataset(LAND.model_copy(update={"upstream": 0.5}), tmp_path)
    bought = dense_budget(data.images, data.splits, label_budget, 0)
    assert not np.isin(bought, data.splits.upstream).any()


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_of_none_or_all_is_refused(share: float) -> None:
    with pytest.raises(ValidationError, match="upstream"):
        DataSpec(name="land_cover", upstream=share)
