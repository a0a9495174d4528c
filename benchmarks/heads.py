"""Batched linear heads against scikit-learn's LogisticRegression in a loop, on the surface a probe covers.

    python benchmarks/heads.py            # 7 budgets x 5 draws x 6 layers x 13 C on 10,000 x 384, 10 classes
    python benchmarks/heads.py --quick    # a corner of it, under a minute

scikit-learn runs a sample of each budget's heads, one process per core, and its time is scaled to all of them; both
sides run in turn, round after round, so that a busy machine hurts both. "all" has one draw, on either side.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from bench.protocols.heads import fit_heads


@dataclass(frozen=True)
class Surface:
    """What is fitted: label budgets (0 = all), draws of each, layers, regularisers, and the size of the features."""

    budgets: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 0)
    draws: int = 5
    layers: int = 6
    C: tuple[float, ...] = tuple(float(C) for C in np.logspace(-3, 3, 13))
    images: int = 10_000
    dim: int = 384
    classes: int = 10


QUICK = Surface(budgets=(1, 5, 20, 0), draws=2, layers=2, C=(1e-3, 1e-1, 1.0, 1e1, 1e3), images=2_000, dim=128)


@dataclass(frozen=True)
class Timing:
    """Seconds of one budget's heads in one round."""

    budget: str
    heads: int
    samples: int
    ours: float
    scikit_learn: float


def make_features(surface: Surface) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features [layers, images, dim] with a decaying spectrum, and labels [images]."""
    numbers = np.random.default_rng(0)
    labels = np.arange(surface.images) % surface.classes
    centres = 0.25 * numbers.normal(size=(surface.layers, surface.classes, surface.dim))
    hidden = centres[:, labels] + numbers.normal(size=(surface.layers, surface.images, surface.dim))
    turn = np.linalg.qr(numbers.normal(size=(surface.dim, surface.dim)))[0]
    features = np.tanh((hidden / np.arange(1, surface.dim + 1)) @ turn)
    return (features - features.mean(1, keepdims=True)) / features.std(1, keepdims=True), labels


def draw(surface: Surface, budget: int) -> np.ndarray:
    """Indices [draws, n] of a budget; classes alternate in the data, so every class gets the same number."""
    if not budget:
        return np.arange(surface.images)[None]
    numbers = np.random.default_rng(budget)
    per_class = surface.images // surface.classes
    ranks = np.stack([numbers.permutation(per_class)[:budget] for _ in range(surface.draws)])
    return (ranks[:, :, None] * surface.classes + np.arange(surface.classes)).reshape(surface.draws, -1)


def time_ours(features: np.ndarray, labels: np.ndarray, drawn: np.ndarray, surface: Surface) -> float:
    start = time.perf_counter()
    known = torch.from_numpy(features[:, drawn].reshape(-1, drawn.shape[1], surface.dim))
    truth = torch.from_numpy(np.tile(labels[drawn], (surface.layers, 1)))
    fitted = fit_heads(known, truth, surface.classes, torch.tensor(surface.C))
    seconds = time.perf_counter() - start
    if not bool(fitted.converged.all()):
        raise RuntimeError("some heads did not converge")
    return seconds


def fit_one(features: np.ndarray, labels: np.ndarray, C: float) -> float:
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        LogisticRegression(C=C, max_iter=2000).fit(features, labels)
    return time.perf_counter() - start


def time_scikit_learn(
    features: np.ndarray, labels: np.ndarray, drawn: np.ndarray, surface: Surface, sample: int, cores: int
) -> float:
    """Wall seconds for all heads of the budget: a sample spread over the regularisers, scaled up."""
    heads = len(drawn) * surface.layers * len(surface.C)
    numbers = np.random.default_rng(len(drawn[0]))
    columns = np.linspace(0, len(surface.C) - 1, min(sample, len(surface.C))).round().astype(int)
    jobs = [(numbers.integers(surface.layers), numbers.integers(len(drawn)), surface.C[column]) for column in columns]
    start = time.perf_counter()
    Parallel(n_jobs=cores)(
        delayed(fit_one)(features[layer, drawn[number]], labels[drawn[number]], C) for layer, number, C in jobs
    )
    return (time.perf_counter() - start) * heads / len(jobs)


def measure(surface: Surface, rounds: int, sample: int, cores: int) -> list[list[Timing]]:
    """Timings of every budget, round by round; one round before the first warms both sides up and is dropped."""
    features, labels = make_features(surface)
    torch.set_num_threads(cores)
    Parallel(n_jobs=cores)(delayed(fit_one)(features[0, :40], labels[:40], 1.0) for _ in range(cores))
    time_ours(features, labels, draw(surface, surface.budgets[0]), surface)
    results = []
    for _ in range(rounds):
        timings = []
        for budget in surface.budgets:
            drawn = draw(surface, budget)
            heads = len(drawn) * surface.layers * len(surface.C)
            ours = time_ours(features, labels, drawn, surface)
            theirs = time_scikit_learn(features, labels, drawn, surface, sample, cores)
            timings.append(Timing(str(budget or "all"), heads, drawn.shape[1], ours, theirs))
        results.append(timings)
    return results


def report(results: list[list[Timing]]) -> dict[str, object]:
    """Prints the table; returns the ratios of the whole surface, one a round."""
    print(f"{'budget':>7} {'heads':>6} {'n':>6} {'ours s':>9} {'sklearn s':>10} {'ratio':>7}")
    for timings in zip(*results, strict=True):
        ours, theirs = (np.median([getattr(t, side) for t in timings]) for side in ("ours", "scikit_learn"))
        first = timings[0]
        print(f"{first.budget:>7} {first.heads:>6} {first.samples:>6} {ours:9.2f} {theirs:10.2f} {theirs / ours:7.1f}")
    ratios = [sum(t.scikit_learn for t in timings) / sum(t.ours for t in timings) for timings in results]
    heads = sum(timing.heads for timing in results[0])
    print(f"all {heads} heads: {np.median(ratios):.1f}x (from {min(ratios):.1f} to {max(ratios):.1f})")
    return {"heads": heads, "ratios": ratios, "rounds": [[asdict(timing) for timing in round_] for round_ in results]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a corner of the surface")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that are timed")
    parser.add_argument("--sample", type=int, default=5, help="scikit-learn heads timed per budget and round")
    parser.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1), help="cores for either side")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    surface = QUICK if options.quick else Surface()
    summary = report(measure(surface, options.rounds, options.sample, options.cores))
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps({"surface": asdict(surface), "cores": options.cores, **summary}, indent=1))


if __name__ == "__main__":
    main()
