"""Layer drift of a study's pretrainings (docs/statistics.md, Layer drift), and which blocks it says to freeze."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.engine.site import Site
from bench.engine.trained import find_trained
from bench.errors import UserError
from bench.methods.encoder import Encoder, load_encoder
from bench.protocols.cka import Drift, DriftStack, Run, activations, drift_stack
from bench.protocols.pyramid import trunk
from bench.seeds import named_seed
from bench.store.drift import CONTRAST, DECODER, DRIFT, ENCODER

MOST_IMAGES = 256
THRESHOLD = 0.5  # half way from a clean pretraining to one on permuted labels
_BATCH = 64


class Compared(NamedTuple):
    """The pretrainings of one noisy setting, and what its rows say of its noise."""

    keys: Sequence[str]
    about: Mapping[str, Any]  # columns of the table: setting, information_loss, realised_noise_rate


def measure_drift(
    site: Site,
    clean: Sequence[str],
    permuted: Sequence[str],
    noisy: Sequence[Compared],
    *,
    method: str,
    images: int = MOST_IMAGES,
    threshold: float = THRESHOLD,
    level: float = 0.95,
) -> pl.DataFrame:
    """Drift of every layer of every noisy setting, with the number of blocks to freeze.

    The activations are of test images, the same ones for every call on these data. Frozen are the blocks of the
    encoder, from the image on, whose drift is known to lie below the threshold: up to the first whose interval does
    not. Below 0.5, a block is nearer to one learned from clean labels than to one learned from permuted ones.

    Args:
        site: results root and data.
        clean, permuted: keys of the pretrainings at the two ends, at least four each, of one network.
        noisy: the settings to compare, at least four pretrainings each.
        method: for the table.
        images: how many test images at most.
        threshold: of the drift.
        level: of the intervals.

    Returns:
        The columns of `bench.store.drift.DRIFT`; settings in the order given, then blocks from the image on.

    Raises:
        UserError: an encoder is no longer in the store.
    """
    pictures = held_out(site.dataset(), images)
    runs = _Runs(site, pictures)
    network = runs.encoder(clean[0])
    ends = [runs.all(keys) for keys in (clean, permuted)]
    counts = {"n_clean": len(clean), "n_permuted": len(permuted), "n_images": len(pictures)}
    records = []
    for setting in noisy:
        stack = drift_stack(ends[0], runs.all(setting.keys), ends[1])
        about = {"method": method, "level": level, "threshold": threshold, "n_noisy": len(setting.keys)}
        records += _records(stack, network, {**setting.about, **about, **counts}, threshold, level)
    return pl.DataFrame(records, schema=DRIFT)


def held_out(dataset: Dataset, most: int) -> Tensor:
    """Float [N, C, H, W] in [0, 1]: test images, at most so many, drawn once for these data."""
    test = np.asarray(dataset.splits.test)
    order = np.random.default_rng(named_seed("drift", dataset.splits.digest)).permutation(len(test))
    return to_float(np.array(dataset.images.images[np.sort(test[order[:most]])]))


def blocks_to_freeze(drifts: Mapping[str, Drift], blocks: Sequence[str], threshold: float) -> int:
    """How many of these blocks, in their order, have an interval that ends below the threshold, up to the first that
    has not or that is unknown.
    """
    below = [math.isfinite(drifts[block].high) and drifts[block].high < threshold for block in blocks]
    return [*below, False].index(False)


class _Runs:
    """Activations of pretrainings on the same images, each encoded once."""

    def __init__(self, site: Site, images: Tensor) -> None:
        self.site, self.images = site, images
        self.found: dict[str, Run] = {}

    def encoder(self, key: str) -> Encoder:
        found = find_trained(self.site.root, key)
        if found is None:
            raise UserError(
                f"pretraining {key}: its encoder is no longer in the store (dropped by bench gc); run the study again "
                "in a fresh results folder"
            )
        return load_encoder(found[0])

    def all(self, keys: Sequence[str]) -> list[Run]:
        for key in keys:
            if key not in self.found:
                encoder = self.encoder(key)
                parts = [activations(encoder, batch) for batch in torch.split(self.images, _BATCH)]
                self.found[key] = {layer: np.concatenate([part[layer] for part in parts]) for layer in parts[0]}
        return [self.found[key] for key in keys]


def _records(
    stack: DriftStack, network: Encoder, about: Mapping[str, Any], threshold: float, level: float
) -> list[dict[str, Any]]:
    """Lines of one setting: its blocks, then the contrast of encoder and decoder where it has both."""
    drifts, encoder = stack.table(level), trunk(network)
    decoder = [layer for layer in stack.layers if layer not in encoder]
    shared = dict.fromkeys(DRIFT) | dict(about) | {"frozen_blocks": blocks_to_freeze(drifts, encoder, threshold)}
    lines = [
        shared
        | {"part": ENCODER if layer in encoder else DECODER, "block": layer, "place": place}
        | {name: _known(value) for name, value in drift._asdict().items()}
        for place, (layer, drift) in enumerate(drifts.items())
    ]
    if decoder:
        found = stack.contrast(encoder, decoder, level)
        ends = {"drift": found.difference, "low": found.low, "high": found.high}
        contrast = {"part": CONTRAST, "block": "encoder - decoder", "place": len(lines)}
        lines.append(shared | contrast | {name: _known(value) for name, value in ends.items()})
    return lines


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
