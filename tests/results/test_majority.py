"""The line for scale, against scikit-learn's dummy classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier

from bench.protocols.metrics import measure
from bench.results.leaderboard import Board, make_board
from bench.results.majority import majority, majority_scores
from bench.results.opening import Opened, open_results
from bench.results.render import board_notes
from tests.results.synthetic import CLASSES, ENTRANTS, write_study


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
    st.lists(st.integers(0, 9), min_size=5, max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_scores_are_those_of_a_dummy_classifier(pool: list[int], test: list[int]) -> None:
    test = [*test[: len(pool) - 1], test[-1] + 1]
    test[0] += 1  # at least two classes, so that there is a contrast
    train, labels = np.repeat(np.arange(len(pool)), pool), np.repeat(np.arange(len(pool)), test)
    dummy = DummyClassifier(strategy="most_frequent").fit(np.zeros((len(train), 1)), train)
    probabilities = dummy.predict_proba(np.zeros((len(labels), 1)))
    measured = measure(probabilities[None], labels).metrics
    scores = majority_scores(pool, test)
    assert scores == pytest.approx({name: measured[name][0] for name in scores})


def test_the_published_test_split_is_won_by_normal() -> None:
    """Class counts of the capsule-endoscopy challenge: always "Normal" scores 0.762 in validation, 0.300 combined."""
    train = [1154, 834, 2694, 691, 792, 796, 28663, 1162, 663, 158]
    validation = [497, 359, 1155, 297, 340, 343, 12287, 500, 286, 68]
    test = [37, 334, 49, 17, 48, 155, 3526, 11, 181, 27]
    assert round(majority_scores(train, validation)["accuracy"], 3) == 0.762
    assert majority_scores(train, test)["combined"] == pytest.approx(0.3)
    assert majority_scores(train, test)["balanced_accuracy"] == pytest.approx(0.1)


def test_the_board_tells_it_under_the_score(board: Board) -> None:
    line = "always the most frequent class (class 0): balanced accuracy 0.100, accuracy 0.100"
    assert board_notes(board)[1] == line


def test_the_class_is_the_pool_s_and_the_counts_are_the_test_s(opened: Opened) -> None:
    assert opened.study is not None
    skewed = {**opened.study.data, "pool_counts": [1] * 7 + [5] + [1] * 2}
    items = opened.items.with_columns(label=pl.when(pl.col("label") < 5).then(7).otherwise(pl.col("label")))
    found = majority(replace(opened, study=replace(opened.study, data=skewed), items=items), "accuracy")
    assert found is not None
    assert found.class_name == "class 7"
    assert found.scores["accuracy"] == pytest.approx(0.6)
    assert found.scores["balanced_accuracy"] == pytest.approx(1 / 5)


def test_there_is_no_line_where_it_has_no_meaning(opened: Opened) -> None:
    assert majority(opened, "miou") is None
    assert majority(replace(opened, study=None), "accuracy") is None
    assert majority(replace(opened, items=opened.items.clear()), "accuracy") is None
    episodes = opened.rows.with_columns(n_test=pl.lit(75, dtype=pl.Int64))
    assert majority(replace(opened, rows=episodes), "accuracy") is None


def test_the_metric_asked_for_comes_first(tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:3], seeds=2, draws=2)
    board = make_board(open_results(tmp_path), metric="macro_f1")
    f1 = 2 * 0.1 / 1.1 / CLASSES
    assert board.baseline.endswith(f": macro F1 {f1:.3f}, balanced accuracy 0.100, accuracy 0.100")
