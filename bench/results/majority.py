"""What always answering the most frequent class would score: the scale to read a leaderboard by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.results.opening import Opened
from bench.results.text import metric_text

_BESIDE = ("balanced_accuracy", "accuracy", "combined")  # told beside the board's own metric, where measured


@dataclass(frozen=True)
class Majority:
    """The most frequent class of the train pool, and the scores of a classifier that knows no other answer."""

    class_name: str
    scores: Mapping[str, float]


def majority(opened: Opened, metric: str) -> Majority | None:
    """The majority class of a study's data; None where the metric is none of classification, or counts are missing.

    Counts are those of the whole train pool and of the test items. Scores of anything else than all test items
    (episodes, pixels) have no such line.
    """
    data = opened.study.data if opened.study else {}
    pool, names = data.get("pool_counts") or (), data.get("class_names") or ()
    if not pool or opened.items.is_empty() or (opened.scored(metric)["n_test"] != opened.items.height).any():
        return None
    scores = majority_scores(pool, np.bincount(opened.items["label"].to_numpy(), minlength=len(pool)).tolist())
    return Majority(str(names[int(np.argmax(pool))]), scores) if metric in scores else None


def majority_scores(pool_counts: Sequence[int], test_counts: Sequence[int]) -> dict[str, float]:
    """Scores of always answering the pool's most frequent class (the first of them), by metric.

    Args:
        pool_counts: images of each class in the train pool.
        test_counts: test images of each class, more than one class present; means are over those present.
    """
    test = np.asarray(test_counts, dtype=np.float64)
    classes, hits = int((test > 0).sum()), float(test[int(np.argmax(pool_counts))])
    recall = float(hits > 0) / classes  # one class is always right, all others never
    area = 0.5  # every item gets the same probabilities
    return {
        "accuracy": hits / float(test.sum()),
        "balanced_accuracy": recall,
        "macro_f1": 2 * hits / (hits + float(test.sum())) / classes,
        "macro_auroc": area,
        "mean_specificity": 1 - recall,
        "combined": (area + recall) / 2,
    }


def majority_text(found: Majority, metric: str, measured: Sequence[str]) -> str:
    """`always the most frequent class (Normal): balanced accuracy 0.100, accuracy 0.762`, the board's metric first."""
    names = dict.fromkeys([metric, *(name for name in _BESIDE if name in measured)])
    scores = ", ".join(f"{metric_text(name)} {found.scores[name]:.3f}" for name in names)
    return f"always the most frequent class ({found.class_name}): {scores}"
