"""The search in single precision finds what the plain one in double does, ties and all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from bench.protocols import neighbours, tiles
from bench.protocols.neighbours import Points, exactly, nearest


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TILE", 23)
    monkeypatch.setattr(neighbours, "DENSE", 30)
    monkeypatch.setattr(neighbours, "PAIRS", 7)
    monkeypatch.setattr(neighbours, "SPARE", 2)
    monkeypatch.setattr(tiles, "_GROUP", 2)


def make(kind: str, count: int, dim: int, seed: int) -> np.ndarray:
    """Points float64 [count, dim]; products of integers are exact, so that equal distances are equal everywhere."""
    numbers = np.random.default_rng(seed)
    points = numbers.normal(size=(count, dim))
    if kind == "integers":
        return numbers.integers(-2, 3, size=(count, dim)).astype(float)
    if kind == "far integers":
        return numbers.integers(0, 4, size=(count, dim)) + 3000.0
    if kind == "clusters":  # nearer one another than single precision tells
        return points[np.arange(count) % 5] + 1e-4 * points
    if kind == "offset":
        return points + 300.0
    return points * {"normal": 1.0, "small": 1e-21, "vanishing": 1e-42, "large": 1e17, "too large": 1e24}[kind]


KINDS = ["normal", "integers", "far integers", "clusters", "offset", "small", "vanishing", "large", "too large"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 90), st.integers(1, 9), st.integers(1, 20), st.integers(0, 99), st.data())
def test_neighbours_are_those_of_double_precision(
    kind: str, count: int, dim: int, k: int, seed: int, data: st.DataObject
) -> None:
    exact = torch.from_numpy(make(kind, count, dim, seed))
    points, numbers = Points.of(exact), np.random.default_rng(seed)
    known = np.sort(numbers.choice(count, int(numbers.integers(1, count + 1)), replace=False))
    k = min(k, len(known))
    assert (nearest(points, np.arange(count), known, k) == exactly(exact, exact[known], k)).all()
    folds = numbers.integers(0, data.draw(st.integers(1, 4)), size=len(known))
    assert (nearest(points, known, known, k, folds) == exactly(exact[known], exact[known], k, folds, folds)).all()


@given(st.sampled_from(KINDS), st.integers(2, 30), st.integers(1, 40), st.integers(0, 99))
def test_the_bound_holds(kind: str, count: int, dim: int, seed: int) -> None:
    exact = make(kind, count, dim, seed)
    points, everything = Points.of(torch.from_numpy(exact)), np.arange(count)
    assert points.factors is not None
    single, double = points.errors(everything, everything)
    with np.errstate(invalid="ignore"):
        halves = tiles.squared(*points.factors, torch.empty(count**2)).numpy()
        off = np.abs(halves - np.square(exact[:, None] - exact).sum(2) / 2)
    assert ((off <= single[:, None]) | np.isinf(single[:, None])).all()
    if kind != "too large":
        assert np.isfinite(single).all()
    assert (double < 1e-6 * single).all()


def test_double_precision_is_needed_by_few(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = torch.from_numpy(make("normal", 400, 30, 0))
    expected = exactly(exact[300:], exact[:300], 9)
    asked = []

    def counted(queries: torch.Tensor, *others: Any) -> np.ndarray:
        asked.append(len(queries))
        return exactly(queries, *others)

    monkeypatch.setattr(neighbours, "exactly", counted)
    assert (nearest(Points.of(exact), np.arange(300, 400), np.arange(300), 9) == expected).all()
    assert sum(asked) <= 1
    twice = torch.cat([exact[:150], exact[:150]])
    assert (nearest(Points.of(twice), np.arange(150), np.arange(300), 2)[:, 0] == np.arange(150)).all()
    assert asked[-1] == 150


def test_rounder_products_are_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    exact = torch.from_numpy(make("normal", 20, 3, 0))
    points = Points.of(exact)
    assert points.factors is None
    assert (nearest(points, np.arange(20), np.arange(20), 3) == exactly(exact, exact, 3)).all()


@pytest.mark.parametrize("k", [1, 4, 20])
def test_double_precision_is_scikit_learns(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    monkeypatch.setattr(neighbours, "CHUNK_BYTES", 24 * 60 * 7)  # several chunks
    exact = make("normal", 100, 8, k)
    model = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(exact[:60])
    found = exactly(torch.from_numpy(exact[60:]), torch.from_numpy(exact[:60]), k)
    assert (found == model.kneighbors(exact[60:], return_distance=False)).all()


def test_equal_distances_go_by_the_order_of_the_points() -> None:
    points = torch.zeros(9, 2, dtype=torch.float64)
    points[4] = 5.0
    assert nearest(Points.of(points), np.array([0, 1]), np.arange(9), 5).tolist() == [[0, 1, 2, 3, 5]] * 2


def test_own_fold_is_left_out() -> None:
    points = Points.of(torch.arange(6, dtype=torch.float64)[:, None])
    folds = np.array([0, 0, 1, 1, 0, 1])
    found = nearest(points, np.arange(6), np.arange(6), 2, folds)
    assert (folds[found] != folds[:, None]).all()


@given(st.integers(1, 9), st.integers(1, 80), st.integers(1, 12), st.integers(0, 99), st.booleans())
def test_best_of_tiles_are_the_smallest(rows: int, columns: int, count: int, seed: int, turned: bool) -> None:
    numbers = np.random.default_rng(seed)
    matrix = numbers.integers(0, 40, size=(rows, columns)).astype(np.float32)
    best = tiles.Best(rows, count)
    for part in np.array_split(numbers.permutation(columns), 3):
        tile = matrix[:, part]
        best.add(np.arange(rows), part, np.asfortranarray(tile) if turned else tile)
    values, positions = best.ascending()
    expected = np.pad(np.sort(matrix, axis=1), ((0, 0), (0, count)), constant_values=np.inf)[:, :count]
    assert (values == expected).all()
    found = np.isfinite(values)
    assert (np.take_along_axis(matrix, positions, 1)[found] == values[found]).all()
    assert all(len(set(row[kept])) == kept.sum() for row, kept in zip(positions, found, strict=True))
