"""What a protocol is handed, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols.features import Features
from bench.study.protocols import Cell, ProtocolOptions, budget_order

__all__ = ["Budget", "Cell", "Evaluation", "Score", "budgets"]


@dataclass(frozen=True)
class Evaluation:
    """One encoder and the scores asked of it.

    Attributes:
        dataset: images, labels and splits.
        encoder: builds or loads the encoder; called only by protocols that need more than features.
        features: of this encoder, every layer that the cells name.
        options: the protocol's options.
        cells: which scores; any subset of what the options span.
        seed: names the random draws of protocols that train (initial heads, augmentation).
        root: the results root, where a partner's features are kept.
        device: where networks run, "cpu" or "cuda".
        folder: of the encoder, with what its pretraining left beside it; None where it was not read from one.
    """

    dataset: Dataset
    encoder: Callable[[], Encoder]
    features: Features
    options: ProtocolOptions
    cells: Sequence[Cell]
    seed: int
    root: Path
    device: str = "cpu"
    folder: Path | None = None


@dataclass(frozen=True)
class Score:
    """One cell, scored on the test split.

    Attributes:
        cell: what was asked.
        n_labels: labelled images the budget held.
        metrics: by name, as `bench.protocols.metrics.measure` gives them, or the protocol's own.
        class_counts: int64 [K], test images of each class; None where images have no class of their own, and then
            `extra` holds n_test.
        class_correct: int64 [K], those classified correctly; None likewise.
        correct: bitmap of correct test items in split order, numpy.packbits; None likewise.
        selected: what the selection chose, by name.
        n_candidates: among how many; 1 where nothing was selected.
        n_selection_labels: labels outside the budget that the selection read.
        selection: what was done: "fixed", "within_budget" or "held_out".
        extra: parameters, bytes_added (what a deployment adds to the images' encoder), partner, and the like.
        pictures: uint8 [H, W, 3] by name, of answers on test images; only of generated ones, which anyone may see.
    """

    cell: Cell
    n_labels: int
    metrics: Mapping[str, float]
    class_counts: np.ndarray | None
    class_correct: np.ndarray | None
    correct: bytes | None
    selected: Mapping[str, float]
    n_candidates: int
    n_selection_labels: int
    selection: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """The draws of one budget that are asked for: cells, and the images each may see, int64 [draws, n]."""

    label_budget: str
    cells: tuple[Cell, ...]
    indices: np.ndarray

    def labels_per_class(self, n_classes: int) -> int:
        """The nominal number of labels per class."""
        n = self.indices.shape[1]
        return n // n_classes if self.label_budget == "all" else min(int(self.label_budget), n)


def budgets(dataset: Dataset, options: ProtocolOptions, cells: Sequence[Cell]) -> Iterator[Budget]:
    """The cells (of one layer and fusion) grouped by budget, smallest first; a budget's draws are equally large."""

    def order(cell: Cell) -> tuple[tuple[bool, int], int]:
        return budget_order(cell.label_budget), cell.draw

    for label_budget, members in groupby(sorted(cells, key=order), key=lambda cell: cell.label_budget):
        group = tuple(members)
        draws = [dataset.budget(label_budget, cell.draw, options.draw_strategy) for cell in group]
        yield Budget(label_budget, group, np.stack(draws))
