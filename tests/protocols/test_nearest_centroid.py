from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestCentroid

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols.nearest_centroid import class_means, direction_variance, probabilities, run
from tests.protocols.conftest import evaluation, small_options


def test_predictions_are_those_of_scikit_learn(digits: Dataset, pixels: Encoder, root: Path) -> None:
    task = evaluation(digits, pixels, root, small_options("nearest_centroid", label_budgets=[1, 5, "all"]))
    points, splits = task.features.standardised("pixels").astype(np.float64), digits.splits
    for score in run(task):
        known = splits.budget(score.cell.label_budget, score.cell.draw)
        with warnings.catch_warnings():  # it divides by zero for one label a class, and does not use the result
            warnings.simplefilter("ignore")
            oracle = NearestCentroid().fit(points[known], splits.labels[known]).predict(points[splits.test])
        right = np.unpackbits(np.frombuffer(score.correct, np.uint8), count=len(splits.test)).astype(bool)
        assert (right == (oracle == splits.labels[splits.test])).all()


def test_cosine_predictions_are_those_of_the_mean_directions(digits: Dataset, pixels: Encoder, root: Path) -> None:
    options = small_options("nearest_centroid", label_budgets=[5], draws=1, distance="cosine")
    (score,) = run(evaluation(digits, pixels, root, options))
    task = evaluation(digits, pixels, root, options)
    points, splits = task.features.standardised("pixels").astype(np.float64), digits.splits
    known = splits.budget("5", 0)
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    means = np.stack([units[known][splits.labels[known] == label].mean(0) for label in range(10)])
    guess = cosine_similarity(points[splits.test], means).argmax(1)
    assert score.metrics["accuracy"] == pytest.approx((guess == splits.labels[splits.test]).mean())


def test_probabilities_are_those_of_gaussians_about_the_means() -> None:
    """Bayes' rule for spheres of one variance; a class without labels has none of the probability."""
    generator = np.random.default_rng(0)
    points, centroids = generator.normal(size=(7, 3)), generator.normal(size=(2, 4, 3))
    centroids[1, 2] = np.nan
    shares = probabilities(points, centroids, 0.7)
    for draw in range(2):
        distance = ((points[:, None] - centroids[draw]) ** 2).sum(2)
        density = np.nan_to_num(np.exp(-distance / (2 * 0.7)))
        np.testing.assert_allclose(shares[draw], density / density.sum(1, keepdims=True))
    assert (shares[1, :, 2] == 0).all()


def test_the_variance_is_that_of_the_directions_the_points_fill() -> None:
    """Three independent directions of variance 4, each seen by five features, are three directions, not fifteen."""
    latent = np.random.default_rng(0).normal(0, 2, (4000, 3))
    mixing = np.linalg.qr(np.random.default_rng(1).normal(size=(15, 3)))[0]
    assert direction_variance(latent @ mixing.T) == pytest.approx(4, rel=0.1)
    assert direction_variance((latent @ mixing.T)[:8]) == pytest.approx(direction_variance(latent[:8]))
    assert direction_variance(np.ones((5, 3))) == 1


def test_a_class_mean_is_over_its_own_labels() -> None:
    known = np.arange(12.0).reshape(1, 6, 2)
    means = class_means(known, np.array([[0, 1, 0, 1, 1, 3]]), 4)[0]
    np.testing.assert_allclose(means[[0, 1, 3]], [[2, 3], [16 / 3, 19 / 3], [10, 11]])
    assert np.isnan(means[2]).all()


def test_probabilities_are_calibrated_where_there_are_labels(digits: Dataset, pixels: Encoder, root: Path) -> None:
    scores = run(evaluation(digits, pixels, root, small_options("nearest_centroid", label_budgets=[1, 20], draws=3)))
    assert all(score.metrics["ece"] < 0.2 for score in scores)  # one label a class included
    few = [score for score in scores if score.cell.label_budget == "20"]
    assert all(score.metrics["ece"] < 0.1 and score.metrics["nll"] < 0.7 for score in few)
