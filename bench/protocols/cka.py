"""How far pretrainings drift apart, layer by layer: linear CKA, and drift beyond what another seed alone does."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.methods.encoder import Encoder

LEAST_RUNS = 4  # of each kind of pretraining
_SIDE = 4  # activations are averaged to at most this many steps a side: CKA of tiles and places


class Drift(NamedTuple):
    """Drift of one layer: 0 as far apart as two clean pretrainings, 1 as a clean one from one on permuted labels.

    Attributes:
        drift: (d(clean, noisy) - d(clean, clean')) / (d(clean, permuted) - d(clean, clean')), d = 1 - linear CKA.
        low, high: interval over the runs; null where it cannot be told from a ratio with zero below the line.
        noisy, floor, ceiling: the three mean distances.
    """

    drift: float
    low: float
    high: float
    noisy: float
    floor: float
    ceiling: float


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment (arXiv 1905.00414, equation 4): |B' A|^2 / (|A' A| |B' B|) of centred columns.

    Args:
        first: float [n, p], activations of n samples.
        second: float [n, q], of the same samples.

    Returns:
        In [0, 1]: 1 where they differ by a rotation and a scale; nan where either is constant.
    """
    a, b = (np.asarray(values, np.float64) for values in (first, second))
    a, b = a - a.mean(0), b - b.mean(0)
    below = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(b.T @ a) ** 2 / below) if below > 0 else float("nan")


@torch.no_grad()
def activations(encoder: Encoder, images: Tensor) -> dict[str, np.ndarray]:
    """Every layer's activations, float32 [N * places, channels], of images [N, C, H, W] in [0, 1].

    Places are areas of the map, at most 4 x 4 of them.
    """
    found = {}
    for layer, features in encoder.eval().forward_layers(images).items():
        size = [min(_SIDE, extent) for extent in features.shape[-2:]]
        pooled = torch.nn.functional.adaptive_avg_pool2d(features, size)
        found[layer] = pooled.movedim(1, -1).flatten(0, -2).cpu().numpy()
    return found


def layer_drift(
    clean: Sequence[Encoder],
    noisy: Sequence[Encoder],
    permuted: Sequence[Encoder],
    images: Tensor,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Drift]:
    """Drift of every layer between pretrainings on clean and on noisy labels, each of an initialisation of its own.

    Twins of one initialisation may not be compared here: their floor is another.

    Args:
        clean, noisy, permuted: pretrained encoders of one architecture, at least four of each.
        images: float [N, C, H, W] in [0, 1], fixed and held out of all trainings.
        level: of the percentile interval from resampling the runs.
        resamples: of the runs of each kind.
        seed: of the resampling.

    Raises:
        ValueError: fewer than four runs of a kind.
    """
    kinds = {"clean": clean, "noisy": noisy, "permuted": permuted}
    for kind, encoders in kinds.items():
        if len(encoders) < LEAST_RUNS:
            raise ValueError(f"{kind}: {len(encoders)} runs; layer drift needs at least {LEAST_RUNS} of each kind")
    found = {kind: [activations(encoder, images) for encoder in encoders] for kind, encoders in kinds.items()}
    return {
        layer: _drift([[run[layer] for run in found[kind]] for kind in kinds], level, resamples, seed)
        for layer in found["clean"][0]
    }


def _drift(runs: Sequence[Sequence[np.ndarray]], level: float, resamples: int, seed: int) -> Drift:
    """Of one layer; `runs` are the activations of clean, noisy and permuted runs."""
    clean, *others = runs
    within = np.full((len(clean), len(clean)), np.nan)  # no run is compared with itself, nor with its own copy
    for a, b in itertools.combinations(range(len(clean)), 2):
        within[a, b] = within[b, a] = 1 - linear_cka(clean[a], clean[b])
    across = [np.array([[1 - linear_cka(a, b) for b in other] for a in clean]) for other in others]
    numbers = np.random.default_rng(seed)
    drawn = [numbers.integers(0, len(kind), (resamples, len(kind))) for kind in runs]
    values = [_ratio(within, across, [rows[number] for rows in drawn]) for number in range(resamples)]
    drift = _ratio(within, across, [np.arange(len(kind)) for kind in runs])
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Drift(drift, float(low), float(high), across[0].mean(), float(np.nanmean(within)), across[1].mean())


def _ratio(within: np.ndarray, across: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> float:
    pairs = within[np.ix_(rows[0], rows[0])]
    if np.isnan(pairs).all():
        return float("nan")
    floor = np.nanmean(pairs)
    noisy, permuted = (part[np.ix_(rows[0], chosen)].mean() for part, chosen in zip(across, rows[1:], strict=True))
    return float((noisy - floor) / (permuted - floor)) if permuted != floor else float("nan")
