"""What every protocol of labelled images promises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
from pydantic import ValidationError

from bench.data.catalog import Dataset, open_dataset
from bench.methods.encoder import Encoder
from bench.methods.registry import build_method
from bench.protocols.base import Cell, Evaluation, Score
from bench.protocols.features import encode
from bench.protocols.registry import PROTOCOLS
from bench.study.methods import RandomInitOptions
from bench.study.protocols import PROTOCOLS as OPTIONS
from bench.study.protocols import ProtocolOptions, cells
from bench.study.spec import DataSpec
from bench.testing.expect import raises

METRICS = {"accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "mean_specificity", "combined", "nll", "ece"}
CLASSES = 10  # of digits


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="bench-testing-")


@cache
def digits() -> tuple[Dataset, Encoder]:
    """scikit-learn's digits, and a small convolutional network as it was initialised."""
    dataset = open_dataset(DataSpec(name="digits"), Path(_folder().name))
    options = RandomInitOptions(encoder="conv_nano")
    method = build_method("random_init", options, dataset.shape, dataset.mean.tolist(), dataset.std.tolist(), 0)
    return dataset, method.encoder().eval()


class ProtocolContract:
    """The contract of a protocol that learns from labelled images.

    Attributes:
        name: of the protocol, in a study.
        options: those of its options that are not their defaults, to make it quick.
        changes: options for single tests: "subset" (any subset, the same scores) and "learns" (more labels help).
        selects: whether anything is selected; without, there is one candidate at every budget.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    changes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    selects: ClassVar[bool] = True

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """pytest's hook: a test that takes a selection is run with each."""
        if "selection" in metafunc.fixturenames:
            metafunc.parametrize("selection", ["auto", "held_out"])

    def small(self, **changes: Any) -> ProtocolOptions:
        """The options, quick to run, with these changes."""
        return OPTIONS[self.name](**{"label_budgets": [1, 10], "draws": 2} | dict(self.options) | changes)

    def asked(self, options: ProtocolOptions, layer: str) -> list[Cell]:
        """The cells that these options ask of an encoder's layer."""
        return cells(options, [layer])

    def scores(
        self, options: ProtocolOptions, wanted: Sequence[Cell] | None = None, dataset: Dataset | None = None
    ) -> list[Score]:
        """Runs the protocol on digits; None: every cell, the data as they are."""
        known, encoder = digits()
        layer, root = encoder.default_layer, Path(_folder().name)
        features = encode(encoder, known, [layer], root, f"test-{layer}")
        wanted = self.asked(options, layer) if wanted is None else wanted
        task = Evaluation(dataset or known, lambda: encoder, features, options, wanted, seed=0, root=root)
        return PROTOCOLS[self.name](task)

    def test_scores_are_the_cells_asked_for(self) -> None:
        dataset, encoder = digits()
        before = {key: value.clone() for key, value in encoder.state_dict().items()}
        scores = self.scores(self.small())
        assert [score.cell for score in scores] == self.asked(self.small(), encoder.default_layer)
        labels = dataset.splits.labels[dataset.splits.test]
        for score in scores:
            check_score(score, labels)
            fixed = not self.selects or score.cell.label_budget == "1"
            assert score.selection == ("fixed" if fixed else "within_budget")
            assert (score.n_candidates == 1) == (score.selection == "fixed")
            assert score.n_selection_labels == 0
        assert all((encoder.state_dict()[key] == value).all() for key, value in before.items())

    def test_a_subset_of_the_cells_has_the_same_scores(self) -> None:
        options = self.small(**{"label_budgets": [1, 2, 10], "draws": 3} | dict(self.changes.get("subset", {})))
        everything = {score.cell: score for score in self.scores(options)}
        wanted = cells(options, [digits()[1].default_layer])[1::2]
        for score in self.scores(options, wanted[::-1]):
            assert same(score, everything[score.cell]), score.cell

    def test_selection_never_sees_test_labels(self, selection: str) -> None:
        options = self.small(label_budgets=[10], draws=1, selection=selection if self.selects else "fixed")
        honest = self.scores(options)
        blinded = self.scores(options, dataset=shuffled_test_labels(digits()[0]))
        assert [score.selected for score in honest] == [score.selected for score in blinded]
        assert all(score.metrics["accuracy"] < 0.3 for score in blinded)

    def test_held_out_counts_its_labels(self) -> None:
        if not self.selects:
            with raises(ValidationError, "selection"):
                self.small(selection="held_out")
            return
        for score in self.scores(self.small(label_budgets=[2], draws=1, selection="held_out")):
            assert score.selection == "held_out"
            assert score.n_selection_labels == len(digits()[0].splits.validation)
            assert score.n_candidates > 1

    def test_uniform_draws_may_miss_classes(self) -> None:
        splits = digits()[0].splits
        drawn = [splits.budget("1", draw, "uniform") for draw in range(3)]
        assert any(len(set(splits.labels[indices])) < CLASSES for indices in drawn)
        for score in self.scores(self.small(label_budgets=[1], draws=3, draw_strategy="uniform")):
            assert np.isfinite(list(score.metrics.values())).all()

    def test_coverage_draws_buy_as_many_labels_and_other_images(self) -> None:
        chosen, drawn = (
            self.scores(self.small(draw_strategy=strategy, label_budgets=[2], draws=1))
            for strategy in ("coverage", "uniform")
        )
        for one, other in zip(chosen, drawn, strict=True):
            assert one.n_labels == other.n_labels == 2 * CLASSES
            assert np.isfinite(list(one.metrics.values())).all()
        assert any(one.metrics["nll"] != other.metrics["nll"] for one, other in zip(chosen, drawn, strict=True))

    def test_more_labels_help(self) -> None:
        scores = self.scores(
            self.small(**{"label_budgets": [1, 10], "draws": 2} | dict(self.changes.get("learns", {})))
        )
        few, many = (
            np.mean([score.metrics["accuracy"] for score in scores if score.cell.label_budget == budget])
            for budget in ("1", "10")
        )
        assert many > few + 0.1
        assert many > 0.7


def check_score(score: Score, labels: np.ndarray) -> None:
    """Checks that the parts of a score on the test labels, int64 [N], agree with each other."""
    assert set(score.metrics) == METRICS
    assert all(0 <= value <= 1 for metric, value in score.metrics.items() if metric != "nll")
    assert score.metrics["nll"] > 0
    assert score.n_labels == CLASSES * int(score.cell.label_budget)
    assert score.correct is not None
    bits = np.unpackbits(np.frombuffer(score.correct, np.uint8), count=len(labels)).astype(bool)
    assert math.isclose(bits.mean(), score.metrics["accuracy"], rel_tol=1e-6)
    assert (np.bincount(labels, minlength=CLASSES) == score.class_counts).all()
    assert (np.bincount(labels[bits], minlength=CLASSES) == score.class_correct).all()
    recall = score.class_correct / score.class_counts
    assert math.isclose(recall.mean(), score.metrics["balanced_accuracy"], rel_tol=1e-6)
    assert score.extra["bytes_added"] > 0


def shuffled_test_labels(dataset: Dataset) -> Dataset:
    """The same data with the labels of the test split, and of nothing else, permuted."""
    labels = dataset.splits.labels.copy()
    labels[dataset.splits.test] = np.random.default_rng(0).permutation(labels[dataset.splits.test])
    return replace(dataset, splits=replace(dataset.splits, labels=labels))


def same(left: Score, right: Score) -> bool:
    """Whether two scores of a cell are the same but for rounding."""
    close = all(math.isclose(left.metrics[name], right.metrics[name], rel_tol=1e-9) for name in right.metrics)
    return close and left.correct == right.correct and left.selected == right.selected
