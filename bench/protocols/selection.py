"""The selection rule every protocol follows: which labels may choose a hyper-parameter, and how (statistics.md, 4)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.seeds import named_seed
from bench.study.protocols import WITHIN_BUDGET_FROM, Selection

_TIE = 1e-9  # scores nearer than rounding are equal


def resolve(selection: Selection, labels_per_class: int, n_candidates: int) -> Selection:
    """What is done at a budget: "fixed", "within_budget" or "held_out".

    Args:
        selection: what the options ask; "auto" is "fixed" below 10 labels per class and "within_budget" from there on.
        labels_per_class: the budget; with one there is nothing to cross-validate on.
        n_candidates: with one there is nothing to choose.
    """
    if n_candidates == 1:
        return "fixed"
    if selection == "auto":
        selection = "within_budget" if labels_per_class >= WITHIN_BUDGET_FROM else "fixed"
    return "fixed" if selection == "within_budget" and labels_per_class < 2 else selection


def stratified_folds(labels: np.ndarray, folds: int, *names: object) -> np.ndarray:
    """Which fold holds each sample out, int64 [n]: every class is dealt round the folds, in an order the names decide.

    A class goes on where the one before it stopped, so that folds differ by one sample at most.
    """
    order = np.random.default_rng(named_seed("folds", *names)).permutation(len(labels))
    dealt = order[np.argsort(labels[order], kind="stable")]
    held_out = np.empty(len(labels), dtype=np.int64)
    held_out[dealt] = np.arange(len(labels)) % folds
    return held_out


def fold_count(labels_per_class: int, folds: int) -> int:
    """Number of folds: as asked, but no more than a class can fill. The budget alone decides, not what a draw holds."""
    return max(2, min(folds, labels_per_class))


def choose(scores: np.ndarray, candidates: Sequence[float], default: float) -> np.ndarray:
    """Index of the best candidate of each row; ties go to the default, else to the nearest to it (as a ratio).

    Args:
        scores: [..., candidates]; the larger the better.
        candidates: positive numbers, the default among them.
        default: what a tie goes to.

    Returns:
        int64 [...].
    """
    distance = np.abs(np.log(np.asarray(candidates, dtype=np.float64) / default))
    best = scores >= scores.max(-1, keepdims=True) - _TIE
    return np.where(best, distance, np.inf).argmin(-1)
