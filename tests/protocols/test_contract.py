"""What every registered protocol promises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols.base import Score
from bench.protocols.registry import PROTOCOLS
from bench.study import protocols as study
from bench.study.protocols import cells
from tests.protocols.conftest import RUNS, evaluation, small_options

METRICS = {"accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "mean_specificity", "combined", "nll", "ece"}

UNSELECTED = {"label_propagation", "nearest_centroid"}  # nothing to choose: one candidate at every budget


@pytest.fixture(params=sorted(RUNS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def shuffled_test_labels(dataset: Dataset) -> Dataset:
    """The same data with the labels of the test split, and of nothing else, permuted."""
    labels = dataset.splits.labels.copy()
    labels[dataset.splits.test] = np.random.default_rng(0).permutation(labels[dataset.splits.test])
    return replace(dataset, splits=replace(dataset.splits, labels=labels))


def same(left: Score, right: Score) -> bool:
    exact = left.correct == right.correct and left.selected == right.selected
    return exact and left.metrics == pytest.approx(right.metrics, rel=1e-9)


def test_registries_agree() -> None:
    assert set(PROTOCOLS) == set(study.PROTOCOLS)


def test_scores_are_the_cells_asked_for(name: str, digits: Dataset, conv: Encoder, root: Path) -> None:
    task = evaluation(digits, conv, root, small_options(name))
    before = {key: value.clone() for key, value in conv.state_dict().items()}
    scores = RUNS[name](task)
    assert [score.cell for score in scores] == task.cells
    labels = digits.splits.labels[digits.splits.test]
    for score in scores:
        assert set(score.metrics) == METRICS
        assert all(0 <= value <= 1 for metric, value in score.metrics.items() if metric != "nll")
        assert score.metrics["nll"] > 0
        assert score.n_labels == 10 * int(score.cell.label_budget)
        bits = np.unpackbits(np.frombuffer(score.correct, np.uint8), count=len(labels)).astype(bool)
        assert bits.mean() == pytest.approx(score.metrics["accuracy"])
        assert (np.bincount(labels, minlength=10) == score.class_counts).all()
        assert (np.bincount(labels[bits], minlength=10) == score.class_correct).all()
        recall = score.class_correct / score.class_counts
        assert recall.mean() == pytest.approx(score.metrics["balanced_accuracy"])
        fixed = name in UNSELECTED or score.cell.label_budget == "1"
        assert score.selection == ("fixed" if fixed else "within_budget")
        assert (score.n_candidates == 1) == (score.selection == "fixed")
        assert score.n_selection_labels == 0
        assert score.extra["bytes_added"] > 0
    assert all((conv.state_dict()[key] == value).all() for key, value in before.items())


def test_a_subset_of_the_cells_has_the_same_scores(name: str, digits: Dataset, conv: Encoder, root: Path) -> None:
    options = small_options(name, label_budgets=[1, 2, 10], draws=3)
    if name.startswith("finetune") or name == "fusion:trained":
        options = small_options(name, label_budgets=[1, 10], draws=2, lr_grid=None)
    everything = {score.cell: score for score in RUNS[name](evaluation(digits, conv, root, options))}
    wanted = cells(options, [conv.default_layer])[1::2]
    for score in RUNS[name](evaluation(digits, conv, root, options, wanted[::-1])):
        assert same(score, everything[score.cell])


@pytest.mark.parametrize("selection", ["auto", "held_out"])
def test_selection_never_sees_test_labels(
    name: str, selection: str, digits: Dataset, conv: Encoder, root: Path
) -> None:
    if name in UNSELECTED:
        selection = "fixed"
    options = small_options(name, label_budgets=[10], draws=1, selection=selection)
    honest = RUNS[name](evaluation(digits, conv, root, options))
    blinded = RUNS[name](evaluation(shuffled_test_labels(digits), conv, root, options))
    assert [score.selected for score in honest] == [score.selected for score in blinded]
    assert all(score.metrics["accuracy"] < 0.3 for score in blinded)


def test_held_out_counts_its_labels(name: str, digits: Dataset, conv: Encoder, root: Path) -> None:
    if name in UNSELECTED:
        with pytest.raises(ValidationError, match="selection"):
            small_options(name, selection="held_out")
        return
    options = small_options(name, label_budgets=[2], draws=1, selection="held_out")
    for score in RUNS[name](evaluation(digits, conv, root, options)):
        assert score.selection == "held_out"
        assert score.n_selection_labels == len(digits.splits.validation)
        assert score.n_candidates > 1


def test_uniform_draws_may_miss_classes(name: str, digits: Dataset, conv: Encoder, root: Path) -> None:
    options = small_options(name, label_budgets=[1], draws=3, draw_strategy="uniform")
    drawn = [digits.splits.budget("1", draw, "uniform") for draw in range(3)]
    assert any(len(set(digits.splits.labels[indices])) < 10 for indices in drawn)
    for score in RUNS[name](evaluation(digits, conv, root, options)):
        assert np.isfinite(list(score.metrics.values())).all()


def test_coverage_draws_buy_as_many_labels_and_other_images(
    name: str, digits: Dataset, conv: Encoder, root: Path
) -> None:
    changes = {"label_budgets": [2], "draws": 1}
    chosen = RUNS[name](evaluation(digits, conv, root, small_options(name, draw_strategy="coverage", **changes)))
    drawn = RUNS[name](evaluation(digits, conv, root, small_options(name, draw_strategy="uniform", **changes)))
    for one, other in zip(chosen, drawn, strict=True):
        assert one.n_labels == other.n_labels == 20
        assert np.isfinite(list(one.metrics.values())).all()
    assert any(one.metrics["nll"] != other.metrics["nll"] for one, other in zip(chosen, drawn, strict=True))


def test_more_labels_help(name: str, digits: Dataset, conv: Encoder, root: Path) -> None:
    trains = name.startswith("finetune") or name == "fusion:trained"
    changes = {"steps": 40, "lr_grid": None, "batch_size": 64} if trains else {}
    options = small_options(name, label_budgets=[1, 10], draws=2, **changes)
    scores = RUNS[name](evaluation(digits, conv, root, options))
    accuracy = SimpleNamespace(
        **{
            f"at_{budget}": np.mean([s.metrics["accuracy"] for s in scores if s.cell.label_budget == budget])
            for budget in ("1", "10")
        }
    )
    assert accuracy.at_10 > accuracy.at_1 + 0.1
    assert accuracy.at_10 > 0.7


def test_uniform_draws_are_selected_for_one_by_one(digits: Dataset, conv: Encoder, root: Path) -> None:
    options = small_options("linear", label_budgets=[2], draws=4, draw_strategy="uniform", selection="within_budget")
    everything = {score.cell: score for score in PROTOCOLS["linear"](evaluation(digits, conv, root, options))}
    for cell in cells(options, [conv.default_layer]):
        assert same(PROTOCOLS["linear"](evaluation(digits, conv, root, options, [cell]))[0], everything[cell])
