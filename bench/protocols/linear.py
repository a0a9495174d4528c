"""Linear probe: a linear classifier on each frozen layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from bench.protocols.base import Cell, Evaluation, Score
from bench.protocols.probe import probe
from bench.protocols.sgd_probe import probe_by_lars
from bench.study.protocols import LinearOptions


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells."""
    scores: dict[object, Score] = {}
    for layer in dict.fromkeys(cell.layer for cell in evaluation.cells):
        cells = [cell for cell in evaluation.cells if cell.layer == layer]
        scores |= {score.cell: score for score in _layer(evaluation, layer, cells)}
    return [scores[cell] for cell in evaluation.cells]


def _layer(evaluation: Evaluation, layer: str, cells: Sequence[Cell]) -> list[Score]:
    """Scores of the cells of one layer, by the solver the options name."""
    options, dataset = cast(LinearOptions, evaluation.options), evaluation.dataset
    features = evaluation.features.layer(layer)
    extra = {"bytes_added": head_bytes(features.shape[1], len(dataset.splits.class_names))}
    if options.solver == "lars":
        return probe_by_lars(features, dataset, options, cells, extra, evaluation.seed, evaluation.device)
    return probe(evaluation.features.standardised(layer), dataset, options, cells, extra, evaluation.device)


def head_bytes(dim: int, n_classes: int) -> int:
    """Bytes of a linear head in single precision, its standardisation folded in."""
    return 4 * (dim + 1) * n_classes
