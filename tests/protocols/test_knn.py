"""Neighbours and votes, exactly those of scikit-learn's brute force."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from bench.protocols import knn
from bench.protocols.knn import votes
from bench.protocols.neighbours import nearest


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 2, 5, 20])
def test_votes_are_scikit_learns(distance: str, k: int) -> None:
    numbers = np.random.default_rng(k)
    features = numbers.normal(size=(360, 16)).astype(np.float32)
    labels = numbers.integers(0, 4, size=360)
    draws = np.stack([np.sort(numbers.choice(240, 60, replace=False)) for _ in range(2)])
    points = knn._points(features, distance, "cpu")
    neighbours = np.stack([nearest(points, np.arange(240, 360), indices, k) for indices in draws])
    shares = votes(labels[draws], neighbours, np.ones((1, 1, k), bool), 4)
    for draw, indices in enumerate(draws):
        model = KNeighborsClassifier(k, algorithm="brute", metric=distance)
        model.fit(features[indices].astype(np.float64), labels[indices])
        queries = features[240:].astype(np.float64)
        assert (neighbours[draw] == model.kneighbors(queries, return_distance=False)).all()
        assert (shares[draw].argmax(1) == model.predict(queries)).all()
        np.testing.assert_allclose(shares[draw][:, model.classes_], model.predict_proba(queries))


def test_tied_votes_go_to_the_smaller_class() -> None:
    shares = votes(np.array([[2, 1]]), np.array([[[0, 1]]]), np.ones((1, 1, 2), bool), 3)
    assert shares.tolist() == [[[0.0, 0.5, 0.5]]]
    assert shares.argmax(-1).item() == 1
