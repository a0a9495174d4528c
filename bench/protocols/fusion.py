"""Fusion: a layer joined with a partner encoder's features under one head, and the controls of that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np

from bench.errors import UserError
from bench.methods.encoder import Encoder
from bench.methods.inference import Inference, inference, together
from bench.methods.registry import build_method
from bench.protocols.base import Cell, Evaluation, Score
from bench.protocols.features import Features, encode
from bench.protocols.fusion_inputs import Kept, encode_tokens, keep
from bench.protocols.fusion_training import Joined, Trainer
from bench.protocols.linear import head_bytes
from bench.protocols.probe import probe
from bench.store.keys import content_key
from bench.study.methods import MethodOptions, PartnerOptions, PcaPixelsOptions, weights_digest
from bench.study.protocols import FusionOptions, Join
from bench.study.protocols.fusion import PIXELS_PCA, SECOND_PARTNER
from bench.study.versions import FEATURES

_LAYER = "last"


def run(evaluation: Evaluation) -> list[Score]:
    """Scores of every cell, in the order of the cells; which of them are controls their `fuse` says."""
    fusion = _Fusion(evaluation)
    scores: dict[Cell, Score] = {}
    for layer, fuse in dict.fromkeys((cell.layer, cell.fuse) for cell in evaluation.cells):
        cells = [cell for cell in evaluation.cells if (cell.layer, cell.fuse) == (layer, fuse)]
        for score in fusion.scores(layer, Join.parse(cast(str, fuse)), cells):
            scores[score.cell] = score
    return [scores[cell] for cell in evaluation.cells]


class _Frozen:
    """An encoder that is not the one judged, frozen, and its features, kept under its options."""

    def __init__(self, evaluation: Evaluation, options: MethodOptions) -> None:
        self.options = options
        self._evaluation = evaluation

    @cached_property
    def encoder(self) -> Encoder:
        """Built, and fitted where it is one that is fitted to the train pool."""
        data = self._evaluation.dataset
        mean, std = [float(value) for value in data.mean], [float(value) for value in data.std]
        method = build_method(self.options.name, self.options, data.shape, mean, std, 0)
        if method.fits:
            method.fit(data.images.images, data.splits.train, 0)
        return method.encoder().to(self._evaluation.device).eval().requires_grad_(False)

    @cached_property
    def features(self) -> Features:
        """Of the last layer."""
        data = self._evaluation.dataset
        key = content_key(
            "partner",
            method=self.options.name,
            version=self.options.version,
            options=self.options.model_dump(mode="json"),
            weights=weights_digest(self.options),
            fingerprint=data.fingerprint,
            split=data.splits.digest,  # the train pool's statistics normalise the images
            features=FEATURES,
        )
        return encode(self.encoder, data, [_LAYER], self._evaluation.root, key, device=self._evaluation.device)

    @cached_property
    def bytes(self) -> int:
        """In single precision."""
        return 4 * sum(parameter.numel() for parameter in self.encoder.parameters())

    @cached_property
    def cost(self) -> Inference:
        """Of one image."""
        return inference(self.encoder)


class _Fusion:
    """One partner, and everything it may be joined with."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self.options = cast(FusionOptions, evaluation.options)
        self.partner = _Frozen(evaluation, self.options.partner_options())
        self._others: dict[MethodOptions, _Frozen] = {}

    def scores(self, layer: str, join: Join, cells: Sequence[Cell]) -> list[Score]:
        """Scores of the cells, all of this layer and fusion."""
        other = self._other(join)
        if self.options.exact(join.fuse):
            return self._solved(layer, join, other, cells)
        joined = Joined(
            join.fuse,
            self._kept(self.partner, join),
            self._joined_with(layer, join, other),
            self.partner.encoder if self.options.train_partner else None,
        )
        return Trainer(self.evaluation, joined, self._extra(other)).scores(cells)

    def _other(self, join: Join) -> _Frozen | None:
        """What a control joins the partner with; None for a layer, and for the partner alone."""
        options: MethodOptions
        if join.control == SECOND_PARTNER:
            first = cast(PartnerOptions, self.partner.options)
            options = first.model_copy(update={"init_seed": first.init_seed + 1})
        elif join.control == PIXELS_PCA:
            options = PcaPixelsOptions(components=cast(int, join.dimensions))
        else:
            return None
        return self._others.setdefault(options, _Frozen(self.evaluation, options))

    def _solved(self, layer: str, join: Join, other: _Frozen | None, cells: Sequence[Cell]) -> list[Score]:
        """The linear probe of both, side by side."""
        features = self.partner.features.standardised(_LAYER)
        if join.control is None:
            features = np.concatenate([self.evaluation.features.standardised(layer), features], axis=1)
        elif other is not None:
            features = np.concatenate([other.features.standardised(_LAYER), features], axis=1)
        extra, dataset = self._extra(other), self.evaluation.dataset
        extra["bytes_added"] += head_bytes(features.shape[1], len(dataset.splits.class_names))
        return probe(features, dataset, self.options, cells, extra, self.evaluation.device)

    def _joined_with(self, layer: str, join: Join, other: _Frozen | None) -> Kept | None:
        """Raises UserError where there is nothing to attend to."""
        if join.control is not None and other is None:
            return None
        if join.fuse == "cross_attention":
            kept = self._tokens(other.encoder, _LAYER) if other else self._tokens(self.evaluation.encoder(), layer)
            if kept.array.shape[1] == kept.channels:
                raise UserError(
                    f"fusion.fuse: 'cross_attention' needs a map of several positions, but that of {layer!r} has one "
                    f"({join.name}); valid here: concat, gated"
                )
            return kept
        if other is not None:
            return self._kept(other, join)
        array = self.evaluation.features.layer(layer)
        return keep(array, array.shape[1], self.evaluation.dataset.splits.train, self.evaluation.device)

    def _kept(self, frozen: _Frozen, join: Join) -> Kept:
        if join.fuse == "cross_attention":
            return self._tokens(frozen.encoder, _LAYER)
        array = frozen.features.layer(_LAYER)
        return keep(array, array.shape[1], self.evaluation.dataset.splits.train, self.evaluation.device)

    def _tokens(self, encoder: Encoder, layer: str) -> Kept:
        evaluation = self.evaluation
        array = encode_tokens(
            encoder, layer, self.options.tokens, evaluation.dataset, evaluation.root, evaluation.device
        )
        channels = encoder.layers[encoder.resolve(layer)].channels
        return keep(array, channels, evaluation.dataset.splits.train, evaluation.device)

    def _extra(self, other: _Frozen | None) -> dict[str, Any]:
        cost = together([self.partner.cost, *([other.cost] if other else [])])
        return {
            "partner": self.options.partner,
            "partner_parameters": self.partner.bytes // 4,
            "partner_flops": cost.flops,
            "partner_inference_per_second": cost.per_second,
            "bytes_added": self.partner.bytes + (other.bytes if other else 0),
        }
