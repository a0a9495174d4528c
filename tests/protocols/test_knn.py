"""Neighbours and votes, exactly those of scikit-learn's brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from bench.protocols import knn
from bench.protocols.knn import nearest, votes


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 2, 5, 20])
def test_votes_are_scikit_learns(monkeypatch: pytest.MonkeyPatch, distance: str, k: int) -> None:
    monkeypatch.setattr(knn, "CHUNK_BYTES", 24 * 120 * 7)  # several chunks
    numbers = np.random.default_rng(k)
    features = numbers.normal(size=(360, 16)).astype(np.float32)
    labels = numbers.integers(0, 4, size=360)
    draws = np.stack([np.sort(numbers.choice(240, 60, replace=False)) for _ in range(2)])
    points = knn._points(features, distance, "cpu")
    neighbours = nearest(points[240:], points[torch.from_numpy(draws)], k)
    shares = votes(labels[draws], neighbours, np.ones((1, 1, k), bool), 4)
    for draw, indices in enumerate(draws):
        model = KNeighborsClassifier(k, algorithm="brute", metric=distance)
        model.fit(features[indices].astype(np.float64), labels[indices])
        queries = features[240:].astype(np.float64)
        assert (neighbours[draw] == model.kneighbors(queries, return_distance=False)).all()
        assert (shares[draw].argmax(1) == model.predict(queries)).all()
        np.testing.assert_allclose(shares[draw][:, model.classes_], model.predict_proba(queries))


def test_equal_distances_go_by_the_order_of_the_points() -> None:
    known = torch.zeros(1, 9, 2, dtype=torch.float64)
    known[0, 4] = 5.0
    assert nearest(torch.zeros(3, 2, dtype=torch.float64), known, 5)[0].tolist() == [[0, 1, 2, 3, 5]] * 3


def test_own_fold_is_left_out() -> None:
    points = torch.arange(6, dtype=torch.float64).view(1, 6, 1)
    folds = torch.tensor([[0, 0, 1, 1, 0, 1]])
    neighbours = nearest(points, points, 2, folds)[0]
    assert all(folds[0, row] != folds[0, other] for row in range(6) for other in neighbours[row])


def test_tied_votes_go_to_the_smaller_class() -> None:
    shares = votes(np.array([[2, 1]]), np.array([[[0, 1]]]), np.ones((1, 1, 2), bool), 3)
    assert shares.tolist() == [[[0.0, 0.5, 0.5]]]
    assert shares.argmax(-1).item() == 1
