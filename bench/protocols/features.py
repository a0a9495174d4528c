"""Features: every image of the splits encoded once, all layers in one pass, kept under the encoder's key."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.store.artifacts import Artifacts

COLLAPSED_BELOW = 1.5  # effective rank: a lone direction, give or take noise, carries all of the variance
_FILE = "features.npy"
_CONSTANT = 1e-6  # standard deviation relative to the largest magnitude, below which a feature is constant
_RANK_SAMPLE = 4096
_HALF_STEP = 2.0**-10  # between neighbours in half precision, relative to the larger
_ROUNDINGS = 10.0  # times the variance of rounding from which a variance is said to carry something


@dataclass(frozen=True, eq=False)
class Features:
    """What an encoder says of every image.

    Attributes:
        arrays: float16 [N, D] of each layer, in the order of the image store (memory-mapped); zero for images that are
            in no split.
        train: int64 indices of the train pool, whose statistics standardise everything.
    """

    arrays: Mapping[str, np.ndarray]
    train: np.ndarray

    def layer(self, name: str) -> np.ndarray:
        """Raw features of a layer, float16 [N, D]."""
        return self.arrays[name]

    def standardised(self, name: str) -> np.ndarray:
        """Features of a layer with mean 0 and standard deviation 1 on the train pool, float32 [N, D], read-only.

        Features that are constant on the train pool are zero everywhere.
        """
        return _standardised(self, name)

    def standardise(self, name: str, values: np.ndarray) -> np.ndarray:
        """Other raw features [n, D] of a layer in the units of `standardised`, float32 [n, D]."""
        return _scaled(np.asarray(values, dtype=np.float32), *_statistics(self, name))

    def statistics(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """What `standardise` subtracts and multiplies by, float64 [D] each; a feature that is constant has scale 0."""
        return _statistics(self, name)

    def rank(self, name: str) -> float:
        """Effective rank of the layer's train-pool features."""
        return effective_rank(self._sample(name))

    def status(self, name: str) -> tuple[str, str]:
        """("ok", "") or ("collapsed", why): a lone direction carries the train pool's features, the rest is rounding.

        A low effective rank alone is no collapse: where images differ in brightness above all, so do the features of a
        network without norms, and a head reads what is left.
        """
        sample = self._sample(name)
        rank = effective_rank(sample)
        if rank >= COLLAPSED_BELOW or varies_beyond_rounding(sample):
            return "ok", ""
        return "collapsed", f"effective rank of {name} is {rank:.2f}, below {COLLAPSED_BELOW}, and the rest is rounding"

    def _sample(self, name: str) -> np.ndarray:
        return np.asarray(self.arrays[name][self.train[:: _stride(len(self.train))]], dtype=np.float64)


def encode(
    encoder: Encoder,
    dataset: Dataset,
    layers: Sequence[str],
    root: Path,
    key: str,
    batch: int = 256,
    device: str = "cpu",
) -> Features:
    """Encodes every image of the splits once and keeps each layer as an artifact; kept layers are not encoded again.

    Args:
        encoder: the network; put in evaluation mode, its parameters untouched.
        dataset: whose images, in the order of the store.
        layers: names of layers.
        root: the results root.
        key: content key of encoder and images.
        batch: images per pass.
        device: where the network runs.

    Raises:
        FloatingPointError: a feature is not finite in half precision.
    """
    artifacts = Artifacts(root)
    missing = [layer for layer in dict.fromkeys(layers) if artifacts.find("features", f"{key}-{layer}") is None]
    if missing:
        _write(encoder, dataset, missing, artifacts, key, batch, device)
    arrays = {layer: np.load(artifacts.path("features", f"{key}-{layer}") / _FILE, mmap_mode="r") for layer in layers}
    return Features(arrays, dataset.splits.train)


def _write(
    encoder: Encoder, dataset: Dataset, layers: Sequence[str], artifacts: Artifacts, key: str, batch: int, device: str
) -> None:
    images, splits = dataset.images.images, dataset.splits
    used = np.sort(np.concatenate([splits.train, splits.validation, splits.test]))  # the store may hold many more
    encoder = encoder.to(device).eval()
    with ExitStack() as stack, torch.no_grad():
        folders = {layer: stack.enter_context(artifacts.writing("features", f"{key}-{layer}")) for layer in layers}
        files: dict[str, np.memmap] = {}
        for chunk in np.split(used, range(batch, len(used), batch)):
            embedded = encoder.embed(to_float(images[chunk], device), layers)
            for layer, values in embedded.items():
                half = values.to(torch.float16).cpu().numpy()
                if not np.isfinite(half).all():
                    raise FloatingPointError(f"features of {layer} are not finite in half precision")
                if layer not in files:
                    shape = (len(images), half.shape[1])
                    files[layer] = np.lib.format.open_memmap(
                        folders[layer] / _FILE, mode="w+", dtype=np.float16, shape=shape
                    )
                    _reserve(folders[layer] / _FILE)
                files[layer][chunk] = half
        for file in files.values():
            file.flush()


def _reserve(path: Path) -> None:
    """Has the disk hold a mapped file: one that is full is an error here, and would be a signal that kills later."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


@lru_cache(maxsize=2)
def _standardised(features: Features, name: str) -> np.ndarray:
    result = _scaled(np.asarray(features.arrays[name], dtype=np.float32), *_statistics(features, name))
    result.flags.writeable = False
    return result


@lru_cache(maxsize=8)
def _statistics(features: Features, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and inverse standard deviation of a layer on the train pool, float64 [D]; zero where it is constant."""
    pool = np.asarray(features.arrays[name][features.train], dtype=np.float32)
    std = pool.std(0, dtype=np.float64)
    constant = std <= _CONSTANT * np.abs(pool).max(0)
    return pool.mean(0, dtype=np.float64), np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, std))


def _scaled(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return ((values - mean) * scale).astype(np.float32)


def effective_rank(features: np.ndarray) -> float:
    """Exponential of the entropy of the covariance's eigenvalues (Roy & Vetterli 2007), between 1 and D.

    Args:
        features: float [n, D].

    Returns:
        1 for features without variance.
    """
    centred = features - features.mean(0)
    gram = centred.T @ centred if features.shape[0] > features.shape[1] else centred @ centred.T
    eigenvalues = np.linalg.eigvalsh(gram).clip(min=0)
    # features equal up to rounding have rounding for a covariance
    if eigenvalues.sum() <= (_CONSTANT**2) * max(float((features**2).sum()), 1e-300):
        return 1.0
    shares = eigenvalues / eigenvalues.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


def varies_beyond_rounding(features: np.ndarray) -> bool:
    """Whether features [n, D], kept in half precision, vary beyond their first direction by more than rounding."""
    centred = features - features.mean(0)
    gram = centred.T @ centred if features.shape[0] > features.shape[1] else centred @ centred.T
    eigenvalues = np.linalg.eigvalsh(gram).clip(min=0)
    rounding = float(((features * _HALF_STEP) ** 2).sum()) / 12  # of a uniform error in one step
    return bool(eigenvalues[:-1].sum() > _ROUNDINGS * rounding)


def _stride(n: int) -> int:
    return max(1, n // _RANK_SAMPLE)
