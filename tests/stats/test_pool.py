"""Pooling over parts: scikit-learn's scores of the pooled pixels, the part as the unit of the interval."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from bench.errors import UserError
from bench.stats.arrays import t_quantile
from bench.stats.pool import pooled

ORACLES = {
    "miou": lambda truth, guess: jaccard_score(truth, guess, average="macro"),
    "macro_f1": lambda truth, guess: f1_score(truth, guess, average="macro"),
    "pixel_accuracy": accuracy_score,
}


@pytest.mark.parametrize("measure", ORACLES)
def test_the_score_is_that_of_all_pixels_together(measure: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (5, 200))
    guess = np.where(rng.random((5, 200)) < 0.6, truth, rng.integers(0, 3, (5, 200)))
    stack = np.array([[confusion_matrix(t, g, labels=range(3))] for t, g in zip(truth, guess, strict=True)])
    estimate = pooled(stack, measure)
    assert float(estimate.value) == pytest.approx(ORACLES[measure](truth.ravel(), guess.ravel()))
    left = [ORACLES[measure](np.delete(truth, k, 0).ravel(), np.delete(guess, k, 0).ravel()) for k in range(5)]
    assert float(estimate.variance) == pytest.approx(4 * np.var(left))


def test_with_parts_of_one_size_the_interval_of_accuracy_is_students_over_the_parts() -> None:
    right = np.array([60, 70, 80, 90, 65, 75, 85, 55])
    against = np.array([50, 65, 70, 80, 60, 70, 70, 50])

    def stack(hits: np.ndarray) -> np.ndarray:
        return np.array([[[[h, 100 - h], [0, 100]]] for h in hits])

    estimate = pooled(stack(right), "pixel_accuracy", stack(against))
    gaps = (right - against) / 200
    half = t_quantile(0.975, np.array(7.0)) * gaps.std(ddof=1) / np.sqrt(8)
    assert float(estimate.value) == pytest.approx(gaps.mean())
    assert [float(end) for end in estimate.interval(0.95)] == pytest.approx([gaps.mean() - half, gaps.mean() + half])


def test_more_replicates_in_a_part_make_no_more_parts() -> None:
    rng = np.random.default_rng(1)
    stack = rng.integers(1, 50, (6, 1, 3, 3))
    once, often = (pooled(cells, "miou").interval(0.95) for cells in (stack, np.repeat(stack, 10, 1)))
    np.testing.assert_allclose(once, often)


def test_mistakes() -> None:
    stack = np.ones((2, 1, 2, 2))
    with pytest.raises(UserError, match="boundary_f1"):
        pooled(stack, "boundary_f1")
    with pytest.raises(UserError, match="two or more"):
        pooled(stack[:1], "miou")
