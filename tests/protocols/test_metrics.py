"""Metrics against scikit-learn and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    recall_score,
    roc_auc_score,
)
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_specificity

from bench.protocols.metrics import balanced_accuracy, mean_ranks, measure


def problem(seed: int, n: int = 97, n_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(seed)
    labels = numbers.permutation(np.arange(n) % n_classes)
    logits = numbers.normal(size=(3, n, n_classes)) + 1.5 * np.eye(n_classes)[labels]
    return np.exp(logits) / np.exp(logits).sum(2, keepdims=True), labels


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_metrics_are_the_libraries(seed: int) -> None:
    probabilities, labels = problem(seed)
    measures = measure(probabilities, labels)
    for head, shares in enumerate(probabilities):
        predicted = shares.argmax(1)
        area, recall = roc_auc_score(labels, shares, multi_class="ovr"), balanced_accuracy_score(labels, predicted)
        expected = {
            "accuracy": accuracy_score(labels, predicted),
            "balanced_accuracy": recall,
            "macro_f1": f1_score(labels, predicted, average="macro"),
            "macro_auroc": area,
            "mean_specificity": float(
                multiclass_specificity(torch.from_numpy(predicted), torch.from_numpy(labels), 4, average="macro")
            ),
            "combined": (area + recall) / 2,
            "nll": log_loss(labels, shares),
            "ece": float(
                multiclass_calibration_error(torch.from_numpy(shares), torch.from_numpy(labels), 4, n_bins=15)
            ),
        }
        assert {name: values[head] for name, values in measures.metrics.items()} == pytest.approx(expected, abs=1e-6)


def test_classes_absent_from_the_test_split_do_not_count() -> None:
    probabilities, labels = problem(1)
    kept = labels != 2
    measures = measure(probabilities[:, kept], labels[kept])
    predicted = probabilities[0, kept].argmax(1)
    recalls = [(predicted[labels[kept] == label] == label).mean() for label in (0, 1, 3)]
    assert measures.metrics["balanced_accuracy"][0] == pytest.approx(np.mean(recalls))
    expected = f1_score(labels[kept], predicted, labels=[0, 1, 3], average="macro")
    assert measures.metrics["macro_f1"][0] == pytest.approx(expected)
    assert measures.class_counts[2] == 0
    # the specificity of a class is the recall of "any other class"
    specificities = [recall_score(labels[kept] != label, predicted != label) for label in (0, 1, 3)]
    assert measures.metrics["mean_specificity"][0] == pytest.approx(np.mean(specificities))


def test_one_class_alone_has_no_contrast() -> None:
    probabilities, _ = problem(4)
    measures = measure(probabilities, np.full(97, 2))
    for name in ("macro_auroc", "mean_specificity", "combined"):
        assert np.isnan(measures.metrics[name]).all()
    assert np.isfinite(measures.metrics["balanced_accuracy"]).all()


def test_tied_votes_rank_as_scikit_learn_ranks_them() -> None:
    labels = np.arange(60) % 3
    votes = np.random.default_rng(0).multinomial(5, [1 / 3] * 3, size=60)[None] / 5
    assert measure(votes, labels).metrics["macro_auroc"][0] == pytest.approx(
        roc_auc_score(labels, votes[0], multi_class="ovr")
    )


def test_counts_and_bitmap_agree() -> None:
    probabilities, labels = problem(2)
    measures = measure(probabilities, labels)
    for head in range(3):
        bits = np.unpackbits(np.frombuffer(measures.bitmap(head), np.uint8), count=len(labels)).astype(bool)
        assert (bits == (probabilities[head].argmax(1) == labels)).all()
        assert (measures.class_correct[head] == np.bincount(labels[bits], minlength=4)).all()


def test_weighted_balanced_accuracy_is_that_of_the_subset() -> None:
    probabilities, labels = problem(3)
    kept = np.random.default_rng(0).random(len(labels)) < 0.3
    scores = balanced_accuracy(probabilities.argmax(2), labels, kept.astype(float), 4)
    for head in range(3):
        expected = balanced_accuracy_score(labels[kept], probabilities[head, kept].argmax(1))
        assert scores[head] == pytest.approx(expected)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 4)), elements=st.integers(0, 5))
)
def test_mean_ranks_are_scipys(values: np.ndarray) -> None:
    np.testing.assert_array_equal(mean_ranks(values), rankdata(values, axis=1))
