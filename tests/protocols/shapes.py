"""Squares of a colour on noise: a set with masks on which few-shot learning is easy, made in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.data.catalog import Dataset
from bench.data.images import ImageStore
from bench.data.splits import Splits
from bench.methods.encoder import Encoder
from bench.protocols import few_shot
from bench.protocols.base import Cell, Evaluation, Score
from bench.protocols.features import Features
from bench.protocols.few_shot_data import PairData
from bench.study.protocols import FewShotOptions, cells

NAMES = ("background", "red", "green", "blue", "yellow", "cyan", "magenta")
COLORS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]])
FOLDS = (("red", "cyan"), ("green", "yellow"))

QUICK = {
    "folds": FOLDS, "fold": 0, "steps": 3, "batch_size": 4, "validation_every": 2, "validation_episodes": 6,
    "validation_classes": 1, "test_episodes": 20, "label_budgets": [1, 2], "enhancer_steps": 2,
}  # fmt: skip
SIDE = 24


def squares(count: int = 120, side: int = 32) -> Dataset:
    """Images that show one square of one class each; a border of pixels to be ignored around a few of them."""
    numbers = np.random.default_rng(0)
    pixels = numbers.integers(60, 120, (count, side, side, 3)).astype(np.uint8)
    masks = np.zeros((count, side, side), np.uint8)
    for image in range(count):
        label, size = image % len(COLORS), int(numbers.integers(8, 16))
        top, left = numbers.integers(2, side - size - 2, 2)
        square = (image, slice(top, top + size), slice(left, left + size))
        pixels[square] = 255 * COLORS[label]
        if image % 4 == 0:
            masks[image, top - 2 : top + size + 2, left - 2 : left + size + 2] = 255
        masks[square] = label + 1
    histograms = np.stack([(masks == label).sum((1, 2)) for label in range(len(NAMES))], 1)
    labels = histograms[:, 1:].argmax(1) + 1  # of the square
    whole = np.arange(count)
    images = ImageStore(
        Path(), pixels, labels, whole, whole, np.zeros((count, 2, 3), np.int64), None, NAMES, "squares", (), masks,
        histograms=histograms,
    )  # fmt: skip
    turn = whole // len(COLORS) % 4  # every class is shown in every split
    splits = Splits(
        *(np.flatnonzero(part) for part in (turn < 2, turn == 2, turn == 3)), labels, whole, NAMES, "squares"
    )
    return Dataset("squares", images, splits, np.full(3, 0.4, np.float32), np.full(3, 0.25, np.float32))


def task(data: Dataset, encoder: Encoder, wanted: list[Cell] | None = None, **changes: object) -> Evaluation:
    options = FewShotOptions(**{**QUICK, **changes})
    asked = cells(options, [encoder.default_layer]) if wanted is None else wanted
    return Evaluation(data, lambda: encoder, Features({}, data.splits.train), options, asked, seed=0, root=Path())


def run(data: Dataset, encoder: Encoder, wanted: list[Cell] | None = None, **changes: object) -> list[Score]:
    return few_shot.run(task(data, encoder, wanted, **changes))


def pairs(data: Dataset, encoder: Encoder, known: bool = True, **changes: object) -> PairData:
    judge = few_shot.FewShot(task(data, encoder, **changes))
    return judge.data if known else replace(judge.data, known=np.zeros(len(data.images.labels), bool))
