"""The selection rule: which labels choose, how folds are made, where ties go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.protocols.selection import choose, fold_count, resolve, stratified_folds


@pytest.mark.parametrize(
    ("asked", "labels_per_class", "done"),
    [
        ("auto", 9, "fixed"),
        ("auto", 10, "within_budget"),
        ("fixed", 100, "fixed"),
        ("within_budget", 2, "within_budget"),
        ("within_budget", 1, "fixed"),
        ("held_out", 1, "held_out"),
    ],
)
def test_rule(asked: str, labels_per_class: int, done: str) -> None:
    assert resolve(asked, labels_per_class, 7) == done


def test_one_candidate_is_fixed() -> None:
    assert resolve("held_out", 50, 1) == "fixed"


@given(st.lists(st.integers(0, 4), min_size=5, max_size=80), st.integers(2, 5), st.integers(0, 5))
def test_folds_are_stratified_and_level(labels: list[int], folds: int, seed: int) -> None:
    array = np.array(labels)
    held_out = stratified_folds(array, folds, "10", seed)
    sizes = np.bincount(held_out, minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    for label in set(labels):
        counts = np.bincount(held_out[array == label], minlength=folds)
        assert counts.max() - counts.min() <= 1
    assert (held_out == stratified_folds(array, folds, "10", seed)).all()


def test_folds_never_outnumber_the_labels_of_a_class() -> None:
    assert [fold_count(labels_per_class, 5) for labels_per_class in (2, 3, 10)] == [2, 3, 5]


def test_ties_go_to_the_default_then_to_the_nearest() -> None:
    candidates = (0.01, 0.1, 1.0, 10.0, 100.0)
    scores = np.array([[1, 1, 1, 1, 1], [2, 1, 1, 2, 0], [1, 1, 1, 1, 3], [5, 1, 1, 1, 5]])
    assert choose(scores, candidates, 1.0).tolist() == [2, 3, 4, 0]
