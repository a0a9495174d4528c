"""Scores of few-shot classification and segmentation, and their intervals over query images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

REPLICATES = 1000
LEVELS = (2.5, 97.5)  # percentiles of the interval


@dataclass(frozen=True)
class Answers:
    """What was said in E episodes of N ways.

    Attributes:
        query: int64 [E], image that was asked about.
        classes: int64 [E, N].
        present: bool [E, N], whether the query shows the class.
        claimed: bool [E, N], whether that was said.
        intersection: int64 [E, N], pixels of the class that were called so.
        union: int64 [E, N], pixels of the class or called so; those of absent classes count here.
        area: int64 [E, N], pixels of the class.
        pixels: int64 [E, N], pixels that count at all.
    """

    query: np.ndarray
    classes: np.ndarray
    present: np.ndarray
    claimed: np.ndarray
    intersection: np.ndarray
    union: np.ndarray
    area: np.ndarray
    pixels: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Answers]) -> Answers:
        """The answers of all parts, one behind the other."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def only(self, kept: np.ndarray) -> Answers:
        """The episodes that bool [E] says."""
        return Answers(*(getattr(self, field.name)[kept] for field in fields(self)))


def scores(answers: Answers) -> dict[str, float]:
    """Every score of one fold.

    Returns:
        exact_ratio, the share of episodes with all ways right; miou, intersection over union of each class summed over
        the episodes, mean over the classes, background left out; presence_accuracy, the share of ways right; and
        what comes without looking: exact_ratio_all_absent, exact_ratio_all_present, and miou_all_foreground (each
        way everywhere).
    """
    right = answers.claimed == answers.present
    return {
        "exact_ratio": float(right.all(1).mean()),
        "miou": mean_iou(answers.classes, answers.intersection, answers.union),
        "presence_accuracy": float(right.mean()),
        "exact_ratio_all_absent": float((~answers.present).all(1).mean()),
        "exact_ratio_all_present": float(answers.present.all(1).mean()),
        "miou_all_foreground": mean_iou(answers.classes, answers.area, answers.pixels),
    }


def mean_iou(classes: np.ndarray, intersection: np.ndarray, union: np.ndarray) -> float:
    """Mean over the classes, of sums over all episodes; a class without any pixel is left out."""
    numbers = np.unique(classes)
    sums = [(intersection[classes == number].sum(), union[classes == number].sum()) for number in numbers]
    ratios = [over / under for over, under in sums if under > 0]
    return float(np.mean(ratios)) if ratios else 0.0


def intervals(folds: Sequence[Answers], seed: int) -> dict[str, float]:
    """95 % intervals of exact_ratio and miou, each the mean over the folds.

    Query images are resampled with all their episodes, which are not independent (percentiles of a bootstrap).

    Returns:
        exact_ratio_low, exact_ratio_high, miou_low and miou_high.
    """
    numbers = np.random.default_rng(seed)
    replicates = np.mean([_replicates(answers, numbers) for answers in folds], axis=0)
    low, high = np.percentile(replicates, LEVELS, axis=1)
    limits = {"exact_ratio_low": low[0], "exact_ratio_high": high[0], "miou_low": low[1], "miou_high": high[1]}
    return {name: float(value) for name, value in limits.items()}


def left_out(folds: Sequence[Answers], blocks: np.ndarray) -> dict[str, list[float]]:
    """exact_ratio and miou, each the mean over the folds, without the query images of each block in turn.

    What a jackknife over query images is made of. Empty where a block holds all queries of a fold.

    Args:
        folds: answers in each of them.
        blocks: int64 [N], block of each image of the store, from 0; -1 for images that are never asked about.
    """
    parts = []
    for block in range(blocks.max() + 1):
        kept = [answers.only(blocks[answers.query] != block) for answers in folds]
        if any(not len(answers.query) for answers in kept):
            return {}
        parts.append([scores(answers) for answers in kept])
    return {name: [float(np.mean([fold[name] for fold in part])) for part in parts] for name in ("exact_ratio", "miou")}


def _replicates(answers: Answers, numbers: np.random.Generator) -> np.ndarray:
    """exact_ratio and miou of resampled query images, float64 [2, REPLICATES]."""
    images, place = np.unique(answers.query, return_inverse=True)
    weights = numbers.multinomial(len(images), np.full(len(images), 1 / len(images)), size=REPLICATES)
    right = (answers.claimed == answers.present).all(1)
    exact = weights @ np.bincount(place, right) / (weights @ np.bincount(place))
    over, under = (_by_image(answers, place, part) for part in (answers.intersection, answers.union))
    with np.errstate(invalid="ignore"):
        ratio = (weights @ over) / (weights @ under)
    seen = np.isfinite(ratio)
    iou = np.where(seen, ratio, 0).sum(1) / np.maximum(seen.sum(1), 1)
    return np.stack([exact, iou])


def _by_image(answers: Answers, place: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Pixels summed by query image and class, int64 [images, classes]."""
    classes = np.unique(answers.classes, return_inverse=True)[1].reshape(answers.classes.shape)
    sums = np.zeros((place.max() + 1, classes.max() + 1), np.int64)
    np.add.at(sums, (place[:, None], classes), pixels)
    return sums
