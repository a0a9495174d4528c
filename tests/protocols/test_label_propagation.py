from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols.graph import affinity, nearest, normalised, spread, weigh
from bench.protocols.label_propagation import run
from bench.protocols.registry import PROTOCOLS
from tests.protocols.conftest import evaluation, small_options

ALPHA = 0.9


def unit_points(n: int, seed: int = 0) -> torch.Tensor:
    points = np.random.default_rng(seed).normal(size=(n, 4)) + np.repeat(np.eye(4)[:2] * 3, n // 2, axis=0)
    return torch.nn.functional.normalize(torch.from_numpy(points), dim=1)


def test_neighbours_are_those_of_scikit_learn() -> None:
    points = unit_points(60)
    positions, similarities = nearest(points, points, 5, itself=True)
    distance, expected = NearestNeighbors(n_neighbors=5, metric="cosine").fit(points.numpy()).kneighbors()
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(similarities, 1 - distance)
    assert nearest(points[:3], points[:2], 5)[0].shape == (3, 2)


def test_the_graph_is_symmetric_without_loops_and_its_spectrum_is_bounded() -> None:
    graph = affinity(unit_points(60), 5)
    dense = graph.toarray()
    np.testing.assert_allclose(dense, dense.T)
    assert (np.diag(dense) == 0).all()
    assert np.abs(np.linalg.eigvalsh(normalised(graph).toarray())).max() == pytest.approx(1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.99))
def test_spreading_solves_its_equation_whatever_columns_share_the_call(seed: int, alpha: float) -> None:
    graph = normalised(affinity(unit_points(30, seed), 4))
    seeds = (np.random.default_rng(seed).random((30, 6)) < 0.1).astype(np.float64)
    found = spread(graph, seeds, alpha)
    exact = np.linalg.solve(np.eye(30) - alpha * graph.toarray(), (1 - alpha) * seeds)
    np.testing.assert_allclose(found, exact, atol=1e-8)
    np.testing.assert_allclose(spread(graph, seeds[:, 2:3], alpha), found[:, 2:3], rtol=1e-12, atol=1e-14)


def test_an_image_without_neighbours_keeps_its_label() -> None:
    graph = csr_array(np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    scores = spread(normalised(graph), np.array([[1.0, 0], [0, 0], [0, 1]]), 0.5)
    np.testing.assert_allclose(scores, [[2 / 3, 0], [1 / 3, 0], [0, 0.5]])


@pytest.mark.parametrize("draw", [0, 1])
def test_scores_are_those_of_scikit_learn_on_the_same_graph(
    digits: Dataset, pixels: Encoder, root: Path, draw: int
) -> None:
    options = small_options("label_propagation", label_budgets=[3], alpha=ALPHA, neighbours=7)
    task = evaluation(digits, pixels, root, options)
    splits, features = digits.splits, torch.tensor(task.features.standardised("pixels"))
    points = torch.nn.functional.normalize(features, dim=1)
    pool, test = points[splits.train], points[splits.test]
    graph = affinity(pool, 7).toarray()
    positions, similarities = nearest(test, pool, 7)
    joined = np.zeros((len(test), len(pool)))
    np.put_along_axis(joined, positions, weigh(similarities), axis=1)

    def kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return graph if len(right) == len(pool) == len(left) and right is left else joined.T

    labels = np.where(np.isin(splits.train, splits.budget("3", draw)), splits.labels[splits.train], -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        oracle = LabelSpreading(kernel, alpha=ALPHA, max_iter=1000, tol=1e-9).fit(pool.numpy(), labels)
    weights = joined @ oracle.label_distributions_
    truth, score = splits.labels[splits.test], run(task)[draw]
    right = np.unpackbits(np.frombuffer(score.correct, np.uint8), count=len(truth)).astype(bool)
    assert (right == (weights.argmax(1) == truth)).all()
    shares = weights / weights.sum(1, keepdims=True)
    assert score.metrics["nll"] == pytest.approx(
        -np.log(np.clip(shares[np.arange(len(truth)), truth], np.finfo(float).eps, 1)).mean(), rel=1e-4
    )


def test_test_images_are_not_in_the_graph(digits: Dataset, pixels: Encoder, root: Path) -> None:
    """A test image scores the same whichever others are tested."""
    options = small_options("label_propagation", label_budgets=[2], draws=1)
    (full,) = run(evaluation(digits, pixels, root, options))
    fewer = replace(digits, splits=replace(digits.splits, test=digits.splits.test[:40]))
    (part,) = run(evaluation(fewer, pixels, root, options))
    assert np.unpackbits(np.frombuffer(part.correct, np.uint8))[:40].tolist() == (
        np.unpackbits(np.frombuffer(full.correct, np.uint8))[:40].tolist()
    )


def test_unlabelled_images_help(digits: Dataset, pixels: Encoder, root: Path) -> None:
    def accuracy(name: str) -> float:
        options = small_options(name, label_budgets=[1], draws=4)
        scores = PROTOCOLS[name](evaluation(digits, pixels, root, options))
        return float(np.mean([score.metrics["accuracy"] for score in scores]))

    assert accuracy("label_propagation") > accuracy("knn") + 0.1
