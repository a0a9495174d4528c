"""Coverage: nested, the same every time, better than chance at what it is for; and the draws made of it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.catalog import Dataset, open_dataset
from bench.data.labelling import mean_distance
from bench.data.selection import coverage_order, pixel_points
from bench.errors import UserError
from bench.study.spec import DataSpec


def points(seed: int, count: int = 80, dimensions: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, dimensions)).astype(np.float64)


@given(st.integers(0, 1000), st.integers(0, 5), st.integers(1, 30), st.integers(0, 30))
@settings(deadline=None, max_examples=40)
def test_choices_nest_and_repeat(seed: int, draw: int, small: int, more: int) -> None:
    values = points(seed)
    one = list(itertools.islice(coverage_order(values, draw), small))
    two = list(itertools.islice(coverage_order(values, draw), small + more))
    assert two[:small] == one
    assert len(set(two)) == len(two)


def test_every_image_comes_once_and_seeds_differ() -> None:
    values = points(0, 600)
    whole = list(coverage_order(values, 0))
    assert sorted(whole) == list(range(600))
    assert list(itertools.islice(coverage_order(values, 1), 20)) != whole[:20]


def test_the_first_choices_are_the_best_there_are() -> None:
    values = points(4, 60, 2)
    distances = np.linalg.norm(values[:, None] - values[None], axis=2)
    first, second = itertools.islice(coverage_order(values, 0), 2)
    assert first == distances.sum(1).argmin()
    assert second == np.minimum(distances, distances[first]).sum(1).argmin()


def test_it_covers_better_than_chance_and_leaves_what_is_covered() -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(10, 8)) * 10
    values = centres[np.arange(400) % 10] + generator.normal(size=(400, 8))
    chosen = np.array(list(itertools.islice(coverage_order(values, 0), 10)))
    assert len(set(chosen % 10)) == 10
    chance = [mean_distance(values, values[generator.permutation(400)[:10]]) for _ in range(20)]
    assert mean_distance(values, values[chosen]) < min(chance)
    known = values[np.arange(400) % 10 != 3]
    assert next(coverage_order(values, 0, known)) % 10 == 3


@given(st.integers(4, 20), st.integers(4, 20), st.sampled_from([1, 3]))
@settings(deadline=None, max_examples=30)
def test_points_are_the_means_of_cells(height: int, width: int, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, height, width, channels)).astype(np.uint8)
    rows = np.array([4, 0, 2])
    found = pixel_points(images, rows)
    down = np.linspace(0, height, min(8, height) + 1).astype(int)
    across = np.linspace(0, width, min(8, width) + 1).astype(int)
    wanted = [
        [
            images[row, top:bottom, left:right].astype(float).mean((0, 1))
            for top, bottom in itertools.pairwise(down)
            for left, right in itertools.pairwise(across)
        ]
        for row in rows
    ]
    np.testing.assert_array_equal(found, np.rint(np.array(wanted)).reshape(3, -1))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(DataSpec(name="digits"), tmp_path_factory.mktemp("results"))


def test_draws_nest_differ_and_are_as_large_as_uniform_ones(digits: Dataset) -> None:
    large = [digits.budget("5", draw, "coverage") for draw in range(3)]
    for draw, indices in enumerate(large):
        np.testing.assert_array_equal(digits.budget("2", draw, "coverage"), indices[:20])
        assert len(set(indices.tolist())) == 50
        assert np.isin(indices, digits.splits.labelled).all()
    assert len({tuple(indices) for indices in large}) == 3
    again = open_dataset(DataSpec(name="digits"), _root(digits))
    np.testing.assert_array_equal(again.budget("2", 1, "coverage"), large[1][:20])


def test_labels_play_no_part(digits: Dataset) -> None:
    mixed = replace(digits.splits, labels=np.random.default_rng(0).permutation(digits.splits.labels))
    other = replace(digits, splits=mixed)
    np.testing.assert_array_equal(other.budget("3", 0, "coverage"), digits.budget("3", 0, "coverage"))


def test_other_strategies_and_mistakes_are_those_of_the_splits(digits: Dataset) -> None:
    for strategy in ("balanced", "uniform"):
        np.testing.assert_array_equal(digits.budget("3", 1, strategy), digits.splits.budget("3", 1, strategy))
    np.testing.assert_array_equal(digits.budget("all", 0, "coverage"), digits.splits.labelled)
    with pytest.raises(UserError, match="larger than the train pool"):
        digits.budget("5000", 0, "coverage")
    with pytest.raises(UserError, match="has one draw"):
        digits.budget("all", 1, "coverage")


def _root(dataset: Dataset) -> Path:
    return dataset.images.folder.parents[2]
