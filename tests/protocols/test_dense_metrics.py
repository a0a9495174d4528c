"""Scores over all pixels: scikit-learn's confusion matrix, brute force, and pixels that never count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, recall_score

from bench.data.raw import IGNORE
from bench.protocols.dense_metrics import DenseCounts, boundaries, disk, mean

K = 4


def maps(seed: int, shape: tuple[int, ...] = (5, 12, 9), ignored: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(seed)
    blocks = numbers.integers(0, K, (shape[0], -(-shape[1] // 3), -(-shape[2] // 3)))
    truth = blocks.repeat(3, 1).repeat(3, 2)[:, : shape[1], : shape[2]].astype(np.uint8)
    predicted = np.where(numbers.random(shape) < 0.3, numbers.integers(0, K, shape), truth)
    truth[numbers.random(shape) < ignored] = IGNORE
    return truth, predicted


def counted(truth: np.ndarray, predicted: np.ndarray, n_classes: int = K) -> DenseCounts:
    counts = DenseCounts(n_classes)
    counts.add(truth, predicted)
    return counts


def test_one_matrix_over_all_pixels_is_scikit_learns() -> None:
    portions = [maps(seed) for seed in range(3)]
    counts = DenseCounts(K)
    for truth, predicted in portions:
        counts.add(truth, predicted)
    flat = [np.concatenate([part[side].ravel() for part in portions]) for side in range(2)]
    truth, predicted = (side[flat[0] != IGNORE] for side in flat)
    np.testing.assert_array_equal(counts.confusion, confusion_matrix(truth, predicted, labels=range(K)))
    assert counts.confusion.sum() == len(truth)  # none dropped
    metrics = counts.metrics()
    assert metrics["miou"] == pytest.approx(jaccard_score(truth, predicted, average="macro"))
    assert metrics["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert metrics["pixel_accuracy"] == pytest.approx((truth == predicted).mean())
    assert mean(counts.class_accuracy) == pytest.approx(recall_score(truth, predicted, average="macro"))


def test_classes_without_a_true_pixel_are_left_out() -> None:
    truth = np.zeros((1, 4, 4), np.uint8)
    truth[0, :2] = 1
    predicted = np.where(truth == 1, 1, 2)
    counts = counted(truth, predicted)
    assert counts.metrics()["miou"] == pytest.approx((0 + 1) / 2)
    assert np.isnan(counts.class_iou[2:]).all()
    assert np.isnan(counts.boundary_f1[2:]).all()


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.uint8, (2, 6, 7), elements=st.sampled_from([0, 1, 2, IGNORE])),
    arrays(np.uint8, (2, 6, 7), elements=st.integers(0, 2)),
    arrays(np.uint8, (2, 6, 7), elements=st.integers(0, 2)),
)
def test_what_is_predicted_where_nothing_counts_changes_nothing(
    truth: np.ndarray, predicted: np.ndarray, other: np.ndarray
) -> None:
    before = counted(truth, predicted, 3)
    after = counted(truth, np.where(truth == IGNORE, other, predicted), 3)
    np.testing.assert_array_equal(before.confusion, after.confusion)
    np.testing.assert_array_equal(before.boundary, after.boundary)


def brute_boundary(classes: np.ndarray, label: int) -> list[tuple[int, int]]:
    height, width = classes.shape
    found = []
    for row in range(height):
        for column in range(width):
            beside = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            inside = [classes[r, c] for r, c in beside if 0 <= r < height and 0 <= c < width]
            if classes[row, column] == label and any(value not in (label, IGNORE) for value in inside):
                found.append((row, column))
    return found


def brute_f1(truth: np.ndarray, predicted: np.ndarray, label: int, tolerance: float) -> float:
    hits, sizes = np.zeros(2), np.zeros(2)
    for true, guess in zip(truth, np.where(truth == IGNORE, IGNORE, predicted), strict=True):
        edges = [brute_boundary(guess, label), brute_boundary(true, label)]
        for side in range(2):
            others = np.array(edges[1 - side]).reshape(-1, 2)
            for place in edges[side]:
                distance = np.sqrt(((others - place) ** 2).sum(1)).min(initial=np.inf)
                hits[side] += distance <= tolerance
            sizes[side] += len(edges[side])
    if not sizes[1]:
        return np.nan
    precision, recall = hits / np.maximum(sizes, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("shape", [(3, 12, 9), (1, 200, 30), (1, 9, 300)])
def test_boundary_f1_is_that_of_brute_force(shape: tuple[int, int, int]) -> None:
    truth, predicted = maps(1, shape, ignored=0.05)
    tolerance = max(1, round(0.0075 * np.hypot(*shape[1:])))
    assert (tolerance > 1) == (max(shape) > 199)
    expected = [brute_f1(truth, predicted, label, tolerance) for label in range(K)]
    np.testing.assert_allclose(counted(truth, predicted).boundary_f1, expected)


def test_a_shift_within_the_tolerance_costs_no_boundary_and_one_beyond_costs_all() -> None:
    truth = np.zeros((1, 40, 40), np.uint8)
    truth[0, :, 20:] = 1
    for step, expected in ((1, 1.0), (3, 0.0)):
        predicted = np.zeros_like(truth)
        predicted[0, :, 20 + step :] = 1
        assert counted(truth, predicted, 2).metrics()["boundary_f1"] == expected


def test_the_border_of_the_image_is_no_boundary() -> None:
    assert not boundaries(np.full((1, 5, 5), 3, np.uint8)).any()
    assert disk(1).sum() == 5
    assert disk(2).sum() == 13
