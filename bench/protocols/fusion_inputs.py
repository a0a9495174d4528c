"""What a joint head reads: kept features of every image, as positions x channels, standardised by the train pool."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols.features import encode
from bench.store.keys import KEY_LENGTH, content_key
from bench.study.versions import FEATURES

_STATISTICS_IMAGES = 1024
_CONSTANT = 1e-6  # standard deviation relative to the largest magnitude, below which a channel is constant


@dataclass(frozen=True, eq=False)
class Kept:
    """Features of every image, memory-mapped.

    Attributes:
        array: float16 [N, T * D], the positions one after the other, in the order of the image store.
        mean: float32 [D], over train-pool images and positions.
        scale: float32 [D], one over the standard deviation; 0 for constant channels.
    """

    array: np.ndarray
    mean: Tensor
    scale: Tensor

    @property
    def channels(self) -> int:
        return len(self.mean)

    def read(self, indices: np.ndarray) -> Tensor:
        """Standardised features of some images, float32 [n, T, D], on the device of the statistics."""
        values = torch.from_numpy(self.array[indices].astype(np.float32)).to(self.mean.device)
        return self.standardise(values.unflatten(1, (-1, self.channels)))

    def standardise(self, values: Tensor) -> Tensor:
        """Raw [n, T, D] to standardised."""
        return (values - self.mean) * self.scale


def keep(array: np.ndarray, channels: int, pool: np.ndarray, device: str) -> Kept:
    """Kept features with the statistics of the train pool (of 1024 of its images, if it holds more).

    Args:
        array: [N, T * channels].
        channels: D.
        pool: int64, the train pool.
        device: where features are read to.
    """
    some = pool[:: max(1, len(pool) // _STATISTICS_IMAGES)]
    values = np.asarray(array[some], dtype=np.float64).reshape(-1, channels)
    std = values.std(0)
    constant = std <= _CONSTANT * np.abs(values).max(0)
    scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, std))
    mean, scale = (torch.tensor(part, dtype=torch.float32, device=device) for part in (values.mean(0), scale))
    return Kept(array, mean, scale)


class Tokens(nn.Module):
    """An encoder whose `embed` says a layer's positions, at most `side` x `side`, instead of their mean."""

    def __init__(self, encoder: Encoder, side: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.side = side

    def embed(self, images: Tensor, layers: list[str]) -> dict[str, Tensor]:
        """float [N, T * D] of each layer."""
        maps = self.encoder.forward_layers(images, layers)
        return {layer: positions(features, self.side).flatten(1) for layer, features in maps.items()}


def positions(features: Tensor, side: int) -> Tensor:
    """A map [N, D, H, W], area-pooled to at most `side` positions a side, as [N, T, D]."""
    height, width = features.shape[-2:]
    if max(height, width) > side:
        features = functional.adaptive_avg_pool2d(features, (min(side, height), min(side, width)))
    return features.flatten(2).mT


def encode_tokens(encoder: Encoder, layer: str, side: int, dataset: Dataset, root: Path, device: str) -> np.ndarray:
    """The layer's positions of every image, kept under the network's content, float16 [N, T * D]."""
    key = content_key(
        "tokens",
        encoder=encoder_digest(encoder),
        side=side,
        fingerprint=dataset.fingerprint,
        split=dataset.splits.digest,
        features=FEATURES,
    )
    tokens = cast(Encoder, Tokens(encoder, side))
    return encode(tokens, dataset, [layer], root, key, device=device).layer(layer)


def encoder_digest(encoder: Encoder) -> str:
    """Digest of all that decides what an encoder says: kind, sizes, normalisation and weights."""
    facts = [type(encoder).__name__, encoder.arguments, encoder.mean.tolist(), encoder.std.tolist()]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in encoder.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:KEY_LENGTH]
