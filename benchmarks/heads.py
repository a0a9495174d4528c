"""Batched linear heads against scikit-learn's LogisticRegression in a loop, on the surface a probe covers.

    python benchmarks/heads.py            # 7 budgets x 5 draws x 6 layers x 13 C on 10,000 x 384, 10 classes
    python benchmarks/heads.py --quick    # a corner of it, under a minute

scikit-learn runs a sample of each budget's heads, every regulariser once, one process per core, and the time of its
fits is scaled to all of them, as if shared out to the cores without loss; both sides run in turn, round after round, so
that a busy machine hurts both. "all" has one draw, on either side. Ratios of the whole surface are medians over the
rounds with a distribution-free 95 % interval: of wall seconds, and of processor seconds, which suffer less from what
else runs.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from pairs import median_interval, spelled, write
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

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


QUICK = Surface(budgets=(1, 5, 20, 0), draws=2, layers=2, C=(1e-3, 1e-1, 1.0, 1e1, 1e3), images=6_000, dim=192)


@dataclass(frozen=True)
class Timing:
    """One budget's heads in one round: wall and processor seconds, and the largest excess of our objectives."""

    budget: str
    heads: int
    samples: int
    ours: float
    ours_cpu: float
    scikit_learn: float
    scikit_learn_cpu: float
    excess: float


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


def time_ours(
    features: np.ndarray, labels: np.ndarray, drawn: np.ndarray, surface: Surface
) -> tuple[float, float, np.ndarray]:
    """Wall and processor seconds of the fits, and the objectives [layers, draws, C]."""
    known = torch.from_numpy(features[:, drawn].reshape(-1, drawn.shape[1], surface.dim))
    truth = torch.from_numpy(np.tile(labels[drawn], (surface.layers, 1)))
    C = torch.tensor(surface.C, dtype=torch.float64)
    wall, cpu = time.perf_counter(), time.process_time()
    fitted = fit_heads(known, truth, surface.classes, C)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if not bool(fitted.converged.all()):
        raise RuntimeError("some heads did not converge")
    objective = fitted.objective(known, truth, C)
    return wall, cpu, objective.view(surface.layers, len(drawn), -1).numpy()


def fit_one(features: np.ndarray, labels: np.ndarray, C: float) -> tuple[float, float, float]:
    """Wall and processor seconds of scikit-learn's fit, and the objective it ends at."""
    wall, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(), threadpool_limits(1):  # each fit has a core, not all of them
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=C, max_iter=2000).fit(features, labels)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    losses = -model.predict_log_proba(features)[np.arange(len(labels)), labels]
    return wall, cpu, 0.5 * float((model.coef_**2).sum()) + C * float(losses.sum())


def time_round(
    features: np.ndarray, labels: np.ndarray, drawn: np.ndarray, surface: Surface, sample: int, cores: int, seed: int
) -> Timing:
    """All heads of a budget on our side; scikit-learn's share is a random sample, spread over C, scaled up."""
    ours, ours_cpu, objective = time_ours(features, labels, drawn, surface)
    numbers = np.random.default_rng((seed, drawn.shape[1]))
    columns = np.linspace(0, len(surface.C) - 1, min(sample, len(surface.C))).round().astype(int)
    jobs = [(numbers.integers(surface.layers), numbers.integers(len(drawn)), column) for column in columns]
    fits = Parallel(n_jobs=cores)(
        delayed(fit_one)(features[layer, drawn[number]], labels[drawn[number]], surface.C[column])
        for layer, number, column in jobs
    )
    heads = objective.size
    scale = heads / len(jobs)
    wall, cpu, theirs = np.transpose(fits)  # the time of the processes' start and traffic is left out
    excess = max(objective[job] / value - 1 for job, value in zip(jobs, theirs, strict=True))
    return Timing(
        str(surface.images if drawn.shape[1] == surface.images else drawn.shape[1] // surface.classes),
        heads, drawn.shape[1], ours, ours_cpu, wall.sum() * scale / cores, cpu.sum() * scale, float(excess),
    )  # fmt: skip


def measure(surface: Surface, rounds: int, sample: int, cores: int) -> list[list[Timing]]:
    """Timings of every budget, round by round; a small fit before the first warms both sides up."""
    features, labels = make_features(surface)
    torch.set_num_threads(cores)
    Parallel(n_jobs=cores)(delayed(fit_one)(features[0, :40], labels[:40], 1.0) for _ in range(cores))
    time_ours(features, labels, draw(surface, surface.budgets[0]), surface)
    return [
        [
            time_round(features, labels, draw(surface, budget), surface, sample, cores, number)
            for budget in surface.budgets
        ]
        for number in range(rounds)
    ]


def report(results: list[list[Timing]]) -> dict[str, object]:
    """Prints the table; returns the ratios of the whole surface, one a round."""
    print(f"{'labels':>7} {'heads':>6} {'n':>6} {'ours s':>9} {'sklearn s':>10} {'ratio':>7} {'cpu ratio':>9}")
    for timings in zip(*results, strict=True):
        ours, theirs = (np.median([getattr(t, side) for t in timings]) for side in ("ours", "scikit_learn"))
        cpu = np.median([t.scikit_learn_cpu / t.ours_cpu for t in timings])
        first = timings[0]
        print(f"{first.budget:>7} {first.heads:>6} {first.samples:>6} {ours:9.3f} {theirs:10.2f}", end=" ")
        print(f"{theirs / ours:7.1f} {cpu:9.1f}")
    ratios = [sum(t.scikit_learn for t in timings) / sum(t.ours for t in timings) for timings in results]
    cpu_ratios = [sum(t.scikit_learn_cpu for t in timings) / sum(t.ours_cpu for t in timings) for timings in results]
    wall, cpu = median_interval(ratios), median_interval(cpu_ratios)
    heads = sum(timing.heads for timing in results[0])
    excess = max(timing.excess for timings in results for timing in timings)
    print(f"all {heads} heads, {len(results)} rounds: wall {spelled(wall)}, processor {spelled(cpu)};", end=" ")
    print(f"our objective above theirs by {excess:.0e} at most")
    rounds = [[asdict(timing) for timing in round_] for round_ in results]
    return {"heads": heads, "wall": wall, "processor": cpu, "excess": excess, "rounds": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a corner of the surface")
    parser.add_argument("--rounds", type=int, default=10, help="rounds that are timed")
    parser.add_argument("--sample", type=int, default=13, help="scikit-learn heads timed per budget and round")
    parser.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1), help="cores for either side")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    surface = QUICK if options.quick else Surface()
    summary = report(measure(surface, options.rounds, options.sample, options.cores))
    write(options.output, {"surface": asdict(surface), "threads": options.cores, **summary})


if __name__ == "__main__":
    main()
