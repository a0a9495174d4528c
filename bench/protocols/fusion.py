"""Fusion: a layer joined with a partner encoder's features under one linear head, and the partner alone."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.methods.registry import build_method
from bench.protocols.base import Cell, Evaluation, Score
from bench.protocols.features import Features, encode
from bench.protocols.linear import head_bytes
from bench.protocols.probe import probe
from bench.seeds import named_seed
from bench.store.keys import content_key
from bench.study.encoders import is_timm
from bench.study.methods import MethodOptions, PixelsOptions, RandomInitOptions, TimmOptions
from bench.study.protocols import PARTNER_ONLY, FusionOptions
from bench.study.versions import FEATURES

_LAYER = "last"


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells; the controls (fuse "partner_only") among them."""
    options = cast(FusionOptions, evaluation.options)
    dataset = evaluation.dataset
    partner, encoder = partner_features(evaluation)
    n_parameters = sum(parameter.numel() for parameter in encoder.parameters())
    extra: dict[str, Any] = {"partner": options.partner, "partner_parameters": n_parameters}
    scores: dict[Cell, Score] = {}
    for layer, fuse in dict.fromkeys((cell.layer, cell.fuse) for cell in evaluation.cells):
        cells = [cell for cell in evaluation.cells if (cell.layer, cell.fuse) == (layer, fuse)]
        features = partner.standardised(_LAYER)
        if fuse != PARTNER_ONLY:
            features = np.concatenate([evaluation.features.standardised(layer), features], axis=1)
        added = 4 * n_parameters + head_bytes(features.shape[1], len(dataset.splits.class_names))
        for score in probe(features, dataset, options, cells, extra | {"bytes_added": added}, evaluation.device):
            scores[score.cell] = score
    return [scores[cell] for cell in evaluation.cells]


def partner_features(evaluation: Evaluation) -> tuple[Features, Encoder]:
    """The partner's features, computed once per data set and kept, and the partner itself, frozen."""
    options = cast(FusionOptions, evaluation.options)
    method, seed = partner_method(options)
    encoder = build_partner(method, seed, evaluation.dataset)
    key = content_key(
        "partner",
        method=method.name,
        version=method.version,
        options=method.model_dump(mode="json"),
        seed=seed,
        fingerprint=evaluation.dataset.fingerprint,
        split=evaluation.dataset.splits.digest,  # the train pool's statistics normalise the images
        features=FEATURES,
    )
    features = encode(encoder, evaluation.dataset, [_LAYER], evaluation.root, key, device=evaluation.device)
    return features, encoder


def partner_method(options: FusionOptions) -> tuple[MethodOptions, int]:
    """The partner as a method's options, and the seed of its initialisation (0 where none is random)."""
    if options.partner == "pixels":
        return PixelsOptions(), 0
    if is_timm(options.partner):
        return TimmOptions(encoder=options.partner, pretrained=True), 0
    return RandomInitOptions(encoder=options.partner), named_seed("partner", options.partner, options.partner_seed)


def build_partner(method: MethodOptions, seed: int, dataset: Dataset) -> Encoder:
    """The partner's encoder, in evaluation mode and frozen."""
    mean, std = [float(value) for value in dataset.mean], [float(value) for value in dataset.std]
    encoder = build_method(method.name, method, dataset.shape, mean, std, seed).encoder()
    return encoder.eval().requires_grad_(False)
