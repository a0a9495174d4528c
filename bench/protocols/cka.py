"""How far pretrainings drift apart, layer by layer: linear CKA, and drift beyond what another seed alone does."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.methods.encoder import Encoder
from bench.stats.inversion import zero_interval
from bench.stats.jackknife import Factor, jackknife

LEAST_RUNS = 4  # of each kind of pretraining
KINDS = ("clean", "noisy", "permuted")
_SIDE = 4  # activations are averaged to at most this many steps a side: CKA of tiles and places
_GRID = np.linspace(-2, 4, 601)  # of drifts that an interval may end at

Run = Mapping[str, np.ndarray]  # activations of one pretraining by layer


class Drift(NamedTuple):
    """Drift of one layer: 0 as far apart as two clean pretrainings, 1 as a clean one from one on permuted labels.

    Attributes:
        drift: (d(clean, noisy) - d(clean, clean')) / (d(clean, permuted) - d(clean, clean')), d = 1 - linear CKA.
        low, high: interval over the runs; infinite where open.
        noisy, floor, ceiling: the three mean distances.
    """

    drift: float
    low: float
    high: float
    noisy: float
    floor: float
    ceiling: float


class Contrast(NamedTuple):
    """Mean drift of some layers minus that of others, with its interval over the runs; nan where undefined."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class DriftStack:
    """Distances of every layer on all runs, and without each run in turn.

    Attributes:
        layers: names, L of them.
        distances: float [R, 3, L], mean d(clean, noisy), d(clean, clean') and d(clean, permuted); row 0 on all runs.
        factors: which rows leave out the runs of a kind.
    """

    layers: tuple[str, ...]
    distances: np.ndarray
    factors: tuple[Factor, ...]

    @property
    def moved(self) -> np.ndarray:
        """[R, L], how much further than the floor the noisy runs are."""
        return self.distances[:, 0] - self.distances[:, 1]

    @property
    def span(self) -> np.ndarray:
        """[R, L], how much further than the floor the permuted runs are."""
        return self.distances[:, 2] - self.distances[:, 1]

    @property
    def values(self) -> np.ndarray:
        """[R, L], the drift; nan where permuted runs are no further from clean ones than these from each other."""
        return np.divide(self.moved, self.span, out=np.full_like(self.span, np.nan), where=self.span > 0)

    def table(self, level: float = 0.95) -> dict[str, Drift]:
        """The drift of each layer.

        Its interval holds every f at which moved - f * span is not significantly different from zero (crossed
        jackknife-t over the runs of the three kinds): a ratio whose lower part is uncertain has open ends.
        """
        contrast = jackknife(self.moved[..., None] - _GRID * self.span[..., None], self.factors)
        low, high = zero_interval(contrast, _GRID, level)
        drift = self.values[0]
        low, high = np.where(np.isnan(drift), -np.inf, low), np.where(np.isnan(drift), np.inf, high)
        columns = zip(drift, low, high, *self.distances[0], strict=True)
        return {layer: Drift(*map(float, column)) for layer, column in zip(self.layers, columns, strict=True)}

    def contrast(self, first: Sequence[str], second: Sequence[str], level: float = 0.95) -> Contrast:
        """Mean drift of the first layers minus mean drift of the second; the runs are common to both."""
        means = [self.values[:, [self.layers.index(name) for name in names]].mean(1) for names in (first, second)]
        estimate = jackknife(means[0] - means[1], self.factors)
        return Contrast(float(estimate.value), *map(float, estimate.interval(level)))


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
) -> dict[str, Drift]:
    """Drift of every layer between pretrainings on clean and on noisy labels, each of an initialisation of its own.

    Twins of one initialisation may not be compared here: their floor is another.

    Args:
        clean, noisy, permuted: pretrained encoders of one architecture, at least four of each.
        images: float [N, C, H, W] in [0, 1], fixed and held out of all trainings.
        level: of the interval over the runs.

    Raises:
        ValueError: fewer than four runs of a kind.
    """
    found = [[activations(encoder, images) for encoder in encoders] for encoders in (clean, noisy, permuted)]
    return drift_stack(*found).table(level)


def drift_stack(clean: Sequence[Run], noisy: Sequence[Run], permuted: Sequence[Run]) -> DriftStack:
    """Drift from activations, as `layer_drift`, with what intervals of any function of it need.

    Raises:
        ValueError: fewer than four runs of a kind.
    """
    runs = (clean, noisy, permuted)
    for kind, found in zip(KINDS, runs, strict=True):
        if len(found) < LEAST_RUNS:
            raise ValueError(f"{kind}: {len(found)} runs; layer drift needs at least {LEAST_RUNS} of each kind")
    layers = tuple(clean[0])
    within = np.stack([_within([run[layer] for run in clean]) for layer in layers])
    across = [
        np.array([[[1 - linear_cka(a[layer], b[layer]) for b in other] for a in clean] for layer in layers])
        for other in (noisy, permuted)
    ]
    left_out = [(kind, number) for kind, found in enumerate(runs) for number in range(len(found))]
    kept = [[np.arange(len(found)) for found in runs]]
    kept += [[np.delete(rows, number) if at == kind else rows for at, rows in enumerate(kept[0])]
             for kind, number in left_out]  # fmt: skip
    distances = np.stack([_distances(within, across, rows) for rows in kept])  # [R, 3, L]
    starts = np.cumsum([1, *map(len, runs)]).tolist()
    factors = tuple(Factor(kind, slice(*ends)) for kind, ends in zip(KINDS, itertools.pairwise(starts), strict=True))
    return DriftStack(layers, distances, factors)


def _within(runs: Sequence[np.ndarray]) -> np.ndarray:
    """Distances between runs of one kind, [n, n]; nan on the diagonal: no run is compared with itself."""
    found = np.full((len(runs), len(runs)), np.nan)
    for a, b in itertools.combinations(range(len(runs)), 2):
        found[a, b] = found[b, a] = 1 - linear_cka(runs[a], runs[b])
    return found


def _distances(within: np.ndarray, across: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> np.ndarray:
    """Mean d(clean, noisy), d(clean, clean') and d(clean, permuted) of these runs, [3, L]."""
    clean, *others = rows
    first, second = np.triu_indices(len(clean), 1)
    floor = within[:, clean[first], clean[second]].mean(1)
    noisy, ceiling = (part[:, clean][:, :, chosen].mean((1, 2)) for part, chosen in zip(across, others, strict=True))
    return np.stack([noisy, floor, ceiling])
