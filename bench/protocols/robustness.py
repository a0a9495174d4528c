"""Robustness: the linear probe of clean images, scored on shifted test images."""

from __future__ import annotations

from typing import cast
from weakref import WeakKeyDictionary

import numpy as np
import torch

from bench.data.batches import to_float
from bench.protocols.base import Cell, Evaluation, Score
from bench.protocols.features import Features
from bench.protocols.linear import head_bytes
from bench.protocols.probe import FittedProbe, fit_probes
from bench.protocols.shifts import shifted
from bench.store.keys import content_key
from bench.study.protocols import RobustnessOptions

BATCH = 256
_FITTED: WeakKeyDictionary[Features, dict[tuple[str, tuple[Cell, ...]], list[FittedProbe]]] = WeakKeyDictionary()


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells."""
    options, splits = cast(RobustnessOptions, evaluation.options), evaluation.dataset.splits
    layers = list(dict.fromkeys(cell.layer for cell in evaluation.cells))
    scores: dict[Cell, Score] = {}
    for layer, test in encode_shifted(evaluation, layers).items():
        extra = {"shift": options.shift, "severity": options.severity}
        extra["bytes_added"] = head_bytes(test.shape[1], len(splits.class_names))
        for part in clean_probes(evaluation, layer):
            scores |= {score.cell: score for score in part.scores(test, evaluation.dataset, extra)}
    return [scores[cell] for cell in evaluation.cells]


def clean_probes(evaluation: Evaluation, layer: str) -> list[FittedProbe]:
    """The heads of a layer's cells, fitted to clean images; every shift and severity of an encoder shares them."""
    options = cast(RobustnessOptions, evaluation.options)
    cells = tuple(cell for cell in evaluation.cells if cell.layer == layer)
    asked = content_key("heads", splits=evaluation.dataset.splits.digest, options=options.head_options())
    known = _FITTED.setdefault(evaluation.features, {})
    if (asked, cells) not in known:
        features = evaluation.features.standardised(layer)
        known[asked, cells] = fit_probes(features, evaluation.dataset, options, cells, evaluation.device)
    return known[asked, cells]


def encode_shifted(evaluation: Evaluation, layers: list[str]) -> dict[str, np.ndarray]:
    """Features of the shifted test images by layer, float32 [test, D], standardised as the clean ones are.

    Raises:
        FloatingPointError: a feature is not finite in half precision.
    """
    options, test = cast(RobustnessOptions, evaluation.options), evaluation.dataset.splits.test
    images, encoder = evaluation.dataset.images.images, evaluation.encoder().to(evaluation.device).eval()
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
    with torch.no_grad():
        for chunk in np.split(test, range(BATCH, len(test), BATCH)):
            batch = shifted(to_float(images[chunk], evaluation.device), options.shift, options.severity, chunk)
            for layer, values in encoder.embed(batch, layers).items():
                parts[layer].append(values.to(torch.float16).cpu().numpy())  # as precise as the clean ones are kept
    encoded = {layer: np.concatenate(values) for layer, values in parts.items()}
    for layer, values in encoded.items():
        if not np.isfinite(values).all():
            raise FloatingPointError(f"features of {layer} are not finite in half precision")
    return {layer: evaluation.features.standardise(layer, values) for layer, values in encoded.items()}
