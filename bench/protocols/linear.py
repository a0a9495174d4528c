"""Linear probe: logistic regression on each frozen layer."""

from __future__ import annotations

from typing import cast

from bench.protocols.base import Evaluation, Score
from bench.protocols.probe import probe
from bench.study.protocols import LinearOptions


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells."""
    options = cast(LinearOptions, evaluation.options)
    scores: dict[object, Score] = {}
    for layer in dict.fromkeys(cell.layer for cell in evaluation.cells):
        cells = [cell for cell in evaluation.cells if cell.layer == layer]
        features = evaluation.features.standardised(layer)
        extra = {"bytes_added": head_bytes(features.shape[1], len(evaluation.dataset.splits.class_names))}
        for score in probe(features, evaluation.dataset, options, cells, extra, evaluation.device):
            scores[score.cell] = score
    return [scores[cell] for cell in evaluation.cells]


def head_bytes(dim: int, n_classes: int) -> int:
    """Bytes of a linear head in single precision, its standardisation folded in."""
    return 4 * (dim + 1) * n_classes
