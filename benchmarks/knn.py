"""k-NN of all budgets, draws and layers at once against scikit-learn's KNeighborsClassifier, cell by cell.

    python benchmarks/knn.py            # 7 budgets x 5 draws x 6 layers, 10,000 labelled, 2,000 test images
    python benchmarks/knn.py --quick    # a corner of it, under a minute

Both sides choose k from the same candidates by the same folds inside the budget (from 10 labels per class on), and
predict the test images; ours scores them too. Ours runs all cells in one call, as a study does. scikit-learn runs one
cell of each budget, drawn at random, and its time is scaled to all the budget's cells; the sides take turns, round
after round, so that a busy machine hurts both. Ratios of all cells are medians over the rounds with a
distribution-free 95 % interval, of wall and of processor seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from pairs import median_interval, spelled, write
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from bench.data.catalog import Dataset
from bench.data.splits import Splits
from bench.protocols import knn
from bench.protocols.base import Evaluation, Score
from bench.protocols.selection import choose, stratified_folds
from bench.study.protocols import Cell, KnnOptions, cells


@dataclass(frozen=True)
class Surface:
    """The cells, and the size of the features."""

    budgets: tuple[str, ...] = ("1", "2", "5", "10", "20", "50", "all")
    draws: int = 5
    layers: int = 6
    images: int = 10_000
    test: int = 2_000
    dim: int = 384
    classes: int = 10


QUICK = Surface(budgets=("1", "5", "20", "all"), draws=3, layers=2, images=2_000, test=500, dim=128)


@dataclass(frozen=True)
class Timing:
    """One budget's cells in one round: scikit-learn's wall and processor seconds, share of equal predictions."""

    budget: str
    cells: int
    scikit_learn: float
    scikit_learn_cpu: float
    agreement: float


@dataclass(frozen=True)
class Round:
    """Our wall and processor seconds for all cells, and scikit-learn's budget by budget."""

    ours: float
    ours_cpu: float
    budgets: tuple[Timing, ...]

    def ratios(self) -> tuple[float, float]:
        """How many times longer scikit-learn takes, by the wall and by the processor."""
        wall, cpu = (sum(getattr(t, side) for t in self.budgets) for side in ("scikit_learn", "scikit_learn_cpu"))
        return wall / self.ours, cpu / self.ours_cpu


def make_evaluation(surface: Surface) -> Evaluation:
    """Features with a decaying spectrum, float32 as they are kept, and labels that they tell in part."""
    numbers = np.random.default_rng(0)
    total = surface.images + surface.test
    labels = np.arange(total) % surface.classes
    spread = 1 / np.sqrt(np.arange(1, surface.dim + 1))
    layers = {}
    for layer in range(surface.layers):
        centres = 0.5 * numbers.normal(size=(surface.classes, surface.dim))
        layers[str(layer)] = ((centres[labels] + numbers.normal(size=(total, surface.dim))) * spread).astype(np.float32)
    names = tuple(str(name) for name in range(surface.classes))
    train, test = np.arange(surface.images), np.arange(surface.images, total)
    splits = Splits(train, train[:0], test, labels, np.arange(total), names, "benchmark")
    options = KnnOptions(label_budgets=surface.budgets, draws=surface.draws, layers=tuple(layers))
    return Evaluation(
        dataset=Dataset("benchmark", cast(Any, None), splits, np.zeros(1), np.ones(1)),
        encoder=cast(Any, None),
        features=cast(Any, SimpleNamespace(standardised=layers.__getitem__)),
        options=options,
        cells=cells(options, list(layers)),
        seed=0,
        root=Path(),
    )


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def run_cell(evaluation: Evaluation, cell: Cell) -> np.ndarray:
    """scikit-learn's predictions of the test images, k chosen as our side does."""
    options, splits = cast(KnnOptions, evaluation.options), evaluation.dataset.splits
    points = evaluation.features.standardised(cell.layer).astype(np.float64)
    known = np.sort(splits.budget(cell.label_budget, cell.draw, options.draw_strategy))
    labels, per_class = splits.labels[known], len(known) // len(splits.class_names)
    candidates = options.candidates(per_class)
    default = k = min(options.k_default, candidates[-1])
    if per_class >= 10:
        held_out = stratified_folds(labels, options.folds, cell.label_budget, cell.draw)
        quality = [
            np.mean([_fold(points[known], labels, held_out == fold, k) for fold in range(options.folds)])
            for k in candidates
        ]
        k = candidates[choose(np.array([quality]), candidates, default)[0]]
    model = KNeighborsClassifier(k).fit(points[known], labels)
    return model.classes_[model.predict_proba(points[splits.test]).argmax(1)]


def _fold(points: np.ndarray, labels: np.ndarray, outside: np.ndarray, k: int) -> float:
    model = KNeighborsClassifier(k).fit(points[~outside], labels[~outside])
    return float(balanced_accuracy_score(labels[outside], model.predict(points[outside])))


def time_round(evaluation: Evaluation, seed: int) -> Round:
    """All cells on our side, and one of each budget on scikit-learn's."""
    scores, wall, cpu = timed(lambda: knn.run(evaluation))
    budgets = dict.fromkeys(cell.label_budget for cell in evaluation.cells)
    return Round(wall, cpu, tuple(time_budget(evaluation, budget, scores, seed) for budget in budgets))


def time_budget(evaluation: Evaluation, budget: str, scores: list[Score], seed: int) -> Timing:
    """scikit-learn's time of one of the budget's cells, scaled to all of them."""
    found = [score for score in scores if score.cell.label_budget == budget]
    score = found[int(np.random.default_rng((seed, len(found))).integers(len(found)))]
    predicted, wall, cpu = timed(lambda: run_cell(evaluation, score.cell))
    right = predicted == evaluation.dataset.splits.labels[evaluation.dataset.splits.test]
    agreement = float((right == _right(score, len(right))).mean())
    return Timing(budget, len(found), wall * len(found), cpu * len(found), agreement)


def _right(score: Score, count: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(score.correct or b"", np.uint8), count=count).astype(bool)


def report(rounds: list[Round]) -> dict[str, object]:
    """Prints the table; returns what it holds."""
    print(f"{'budget':>7} {'cells':>6} {'sklearn s':>10} {'processor':>10}")
    for timings in zip(*(result.budgets for result in rounds), strict=True):
        wall, cpu = (np.median([getattr(t, side) for t in timings]) for side in ("scikit_learn", "scikit_learn_cpu"))
        print(f"{timings[0].budget:>7} {timings[0].cells:>6} {wall:10.2f} {cpu:10.2f}")
    ours, ours_cpu = (float(np.median([getattr(result, side) for result in rounds])) for side in ("ours", "ours_cpu"))
    wall, cpu = (median_interval(list(ratios)) for ratios in zip(*(result.ratios() for result in rounds), strict=True))
    timings = [timing for result in rounds for timing in result.budgets]
    agreement = min(timing.agreement for timing in timings)
    count = sum(timing.cells for timing in rounds[0].budgets)
    print(f"ours, all {count} cells: {ours:.2f} s, processor {ours_cpu:.2f} s; {len(rounds)} rounds:", end=" ")
    print(f"wall {spelled(wall)}, processor {spelled(cpu)};", end=" ")
    print(f"predictions equal for at least {agreement:.4f} of the test images")
    return {
        "cells": count, "wall": wall, "processor": cpu, "agreement": agreement,
        "rounds": [asdict(result) for result in rounds],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a corner of the surface")
    parser.add_argument("--layers", type=int, default=None, help="layers, if other than the surface has")
    parser.add_argument("--rounds", type=int, default=10, help="rounds that are timed")
    parser.add_argument("--cores", type=int, default=1, help="threads of our side; scikit-learn reads OMP_NUM_THREADS")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    torch.set_num_threads(options.cores)
    surface = QUICK if options.quick else Surface()
    surface = replace(surface, layers=options.layers or surface.layers)
    evaluation = make_evaluation(surface)
    warm = [cell for cell in evaluation.cells if cell.label_budget in surface.budgets[:2]]
    time_round(replace(evaluation, cells=warm), 0)
    rounds = [time_round(evaluation, number) for number in range(options.rounds)]
    summary = report(rounds)
    write(options.output, {"surface": asdict(surface), "threads": options.cores, **summary})


if __name__ == "__main__":
    main()
