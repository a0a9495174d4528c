"""Coverage of the intervals of the label-saving factor, by simulation of crossed data with known factors.

    python benchmarks/coverage.py --replicates 1000 --out coverage.json

About ten minutes on one core. Accuracy is linear in log labels on the probit scale, so the factor of an entrant moved
along the label axis is exact, averaged over seeds, draws and test items. Budgets 1 to 100; seed standard deviation 1.7
points at 1 label falling to 0.3 at 100, draw standard deviation 5 points at 2 labels falling to 0.3 and half shared
by the entrants, interaction half of the draw's. Every test item is answered separately in every cell, and items
differ in difficulty, half of it alike for both entrants.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtri

from bench.seeds import named_seed
from bench.stats.arrays import BoolArray, FloatArray, probit
from bench.stats.factors import factor_overall
from bench.stats.inversion import contrast_interval
from bench.stats.items import BLOCKS
from bench.stats.jackknife import Factor, jackknife
from bench.stats.monotone import isotonic
from bench.stats.stack import crossed_factors, leave_one_out

BUDGETS = np.array([1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0])
KNOTS = np.log2(BUDGETS)
FIRST, LAST = 0.35, 0.85  # accuracy of the reference at 1 and at 100 labels
SHARED = 0.5  # share of the variance of draws and of item difficulty that both entrants have in common
DIFFICULTY = 1.0  # standard deviation of item difficulty, probits
DESIGNS = ((2, 5, 400), (3, 5, 400), (5, 10, 400), (2, 5, 4000), (3, 5, 4000), (5, 10, 4000))
FACTORS = (1.0, 2.0, 10.0)
AT_BUDGETS = (2, 4)  # positions of the budgets at which the test inversion is checked: 5 and 20 labels
RESAMPLES = 400
CELLS_AT_ONCE = 25_000_000


@dataclass(frozen=True)
class Outcome:
    """One interval in one design: coverage in percent, median half-width in log2 labels, percent unbounded."""

    seeds: int
    draws: int
    items: int
    factor: float
    interval: str
    coverage: float
    half_width: float
    unbounded: float
    replicates: int


def simulate(
    seeds: int, draws: int, items: int, factor: float, replicates: int, rng: np.random.Generator
) -> FloatArray:
    """Accuracy by block of test items, [2 entrants, replicates, S, D, B, blocks]: entrant first, reference second."""
    mean = _mean_ability(factor)  # [2, B]
    density = np.exp(-(mean**2) / 2) / np.sqrt(2 * np.pi)  # points of accuracy per probit
    seed_sd = 0.017 * BUDGETS ** (np.log(0.3 / 1.7) / np.log(100)) / density
    draw_sd = 0.05 * (np.maximum(BUDGETS, 1) / 2) ** (np.log(0.3 / 5) / np.log(50)) / density
    cross_sd = draw_sd / 2
    spread = np.sqrt(1 + seed_sd**2 + draw_sd**2 + cross_sd**2)  # keeps the expected accuracy where it is
    draw = _mixed(rng, (replicates, 1, draws), (2, replicates, 1, draws))
    ability = (mean * spread)[:, None, None, None]
    ability = ability + seed_sd[:, None, None, None] * _smooth(
        rng.standard_normal((2, replicates, seeds, 1, len(BUDGETS)))
    )
    ability = ability + draw_sd[:, None, None, None] * _smooth(draw)
    cross = rng.standard_normal((2, replicates, seeds, draws, len(BUDGETS)))
    return _answers(ability + cross_sd[:, None, None, None] * cross, items, rng)


def _mean_ability(factor: float) -> FloatArray:
    """Probit accuracy of entrant and reference at the budgets, [2, B]: one line, moved along the label axis."""
    first, last = ndtri(FIRST), ndtri(LAST)
    slope = (last - first) / KNOTS[-1]
    return np.asarray(first + slope * np.stack([KNOTS + np.log2(factor), KNOTS]))


def _mixed(rng: np.random.Generator, common: tuple[int, ...], own: tuple[int, ...]) -> FloatArray:
    """Normal effects over budgets that the entrants share in part, [*own, B]."""
    shared = rng.standard_normal((*common, len(BUDGETS)))
    return np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * rng.standard_normal((*own, len(BUDGETS)))


def _smooth(noise: FloatArray) -> FloatArray:
    """Unit-variance effects whose neighbouring budgets correlate by one half: a nested draw stays good or bad."""
    effects = noise.copy()
    for b in range(1, noise.shape[-1]):
        effects[..., b] = 0.5 * effects[..., b - 1] + np.sqrt(0.75) * noise[..., b]
    return effects


def _answers(ability: FloatArray, items: int, rng: np.random.Generator) -> FloatArray:
    """Share of right answers by block: an item is right where ability beats difficulty and a fresh error."""
    replicates = ability.shape[1]
    shared = np.sqrt(SHARED) * rng.standard_normal((1, replicates, items), dtype=np.float32)
    difficulty = DIFFICULTY * (
        shared + np.sqrt(1 - SHARED) * rng.standard_normal((2, replicates, items), dtype=np.float32)
    )
    scaled = (ability * np.sqrt(1 + DIFFICULTY**2)).astype(np.float32)
    right = np.empty((*ability.shape, BLOCKS))
    for at in np.ndindex(ability.shape[2:]):
        error = rng.standard_normal(difficulty.shape, dtype=np.float32)
        answers = error < scaled[(slice(None), slice(None), *at)][..., None] - difficulty
        right[(slice(None), slice(None), *at)] = answers.reshape(2, replicates, BLOCKS, -1).mean(-1)
    return right


def stacks(accuracy: FloatArray, form: str) -> tuple[FloatArray, tuple[Factor, ...]]:
    """Non-decreasing leave-one-out curves of both entrants [2, R, replicates, B] and their factors."""
    total = accuracy.mean(-1, keepdims=True)
    views = np.concatenate([total, (BLOCKS * total - accuracy) / (BLOCKS - 1)], axis=-1)
    replicates, budgets = accuracy.shape[1], accuracy.shape[4]
    cells = np.moveaxis(views, 1, 3).reshape(2, *accuracy.shape[2:4], replicates * budgets, BLOCKS + 1)
    factors = crossed_factors(("entrant", "reference"), list(cells), "anova" if form == "anova" else "jackknife")
    left = [leave_one_out(name, v, factors) for name, v in zip(("entrant", "reference"), cells, strict=True)]
    return isotonic(probit(np.stack(left).reshape(2, -1, replicates, budgets))), factors


def overall_intervals(accuracy: FloatArray, rng: np.random.Generator) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    """Name, low and high [replicates] of every interval of the overall factor, in log2 labels."""
    for name in ("jackknife-t", "jackknife-t without items", "anova-t"):
        curves, factors = stacks(accuracy, "anova" if name == "anova-t" else "jackknife")
        used = [factor for factor in factors if factor.name != "test items" or not name.endswith("items")]
        low, high = jackknife(factor_overall(curves[0], KNOTS, curves[1], KNOTS), used).interval(0.95)
        yield name, np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    for name in ("nested bootstrap", "crossed bootstrap", "crossed bootstrap with items"):
        ends = np.array([_percentiles(accuracy[:, at], name, rng) for at in range(accuracy.shape[1])])
        yield name, ends[:, 0], ends[:, 1]


def _percentiles(accuracy: FloatArray, name: str, rng: np.random.Generator) -> FloatArray:
    """Percentile bootstrap interval of one replicate's overall factor; accuracy [2, S, D, B, blocks]."""
    seeds, draws = accuracy.shape[1:3]
    by_seed = _counts(rng, seeds, (2, RESAMPLES))
    blocks = _counts(rng, BLOCKS, (RESAMPLES,)) if name.endswith("items") else np.ones((RESAMPLES, BLOCKS)) / BLOCKS
    if name == "nested bootstrap":
        inside = _counts(rng, draws, (2, RESAMPLES, seeds))
        weights = by_seed[..., None] * inside
    else:
        weights = by_seed[..., None] * _counts(rng, draws, (RESAMPLES,))[None, :, None]
    seen = np.einsum("msdbg,ng->mnsdb", accuracy, blocks, optimize=True)
    curves = isotonic(probit(np.einsum("mnsdb,mnsd->mnb", seen, weights)))
    return np.asarray(np.nanquantile(factor_overall(curves[0], KNOTS, curves[1], KNOTS), [0.025, 0.975]))


def _counts(rng: np.random.Generator, levels: int, shape: tuple[int, ...]) -> FloatArray:
    """Shares with which a bootstrap draws each level, [*shape, levels]."""
    return np.asarray(rng.multinomial(levels, np.full(levels, 1 / levels), size=shape) / levels)


def inversions(accuracy: FloatArray) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    """Name, low and high [replicates] of the test inversion at single budgets, in log2 labels."""
    curves, factors = stacks(accuracy, "jackknife")
    for at in AT_BUDGETS:
        level = curves[0][..., at]
        low, high = contrast_interval(level, np.full_like(level, KNOTS[at]), curves[1], KNOTS, factors, level=0.95)
        yield f"inversion at {BUDGETS[at]:g}", low, high


def study(seeds: int, draws: int, items: int, factor: float, replicates: int) -> list[Outcome]:
    """Outcomes of every interval in one design; replicates run in chunks of bounded memory."""
    rng = np.random.default_rng(named_seed("coverage", seeds, draws, items, factor))
    found: dict[str, list[tuple[FloatArray, FloatArray]]] = {}
    step = max(1, min(100, CELLS_AT_ONCE // (2 * items)))
    for start in range(0, replicates, step):
        accuracy = simulate(seeds, draws, items, factor, min(step, replicates - start), rng)
        for name, low, high in (*overall_intervals(accuracy, rng), *inversions(accuracy)):
            found.setdefault(name, []).append((low, high))
    design = (seeds, draws, items, factor)
    ends = {name: (np.concatenate(pair) for pair in zip(*parts, strict=True)) for name, parts in found.items()}
    return [_outcome(design, name, *pair) for name, pair in ends.items()]


def _outcome(design: tuple[int, int, int, float], name: str, low: FloatArray, high: FloatArray) -> Outcome:
    covered: BoolArray = (low <= np.log2(design[3])) & (np.log2(design[3]) <= high)
    bounded = np.isfinite(low) & np.isfinite(high)
    half = float(np.median((high - low)[bounded] / 2)) if bounded.any() else float("inf")
    return Outcome(*design, name, 100 * float(covered.mean()), half, 100 * float(1 - bounded.mean()), len(low))


def table(outcomes: list[Outcome]) -> str:
    """Markdown table: a row a design, a column an interval: coverage in percent (unbounded in brackets); half-width."""
    names = list(dict.fromkeys(outcome.interval for outcome in outcomes))
    lines = [
        "| seeds x draws, N | factor | " + " | ".join(names) + " | half-width, log2 |",
        "|---" * (len(names) + 3) + "|",
    ]
    designs = dict.fromkeys((o.seeds, o.draws, o.items, o.factor) for o in outcomes)
    for seeds, draws, items, factor in designs:
        row = {
            o.interval: o for o in outcomes if (o.seeds, o.draws, o.items, o.factor) == (seeds, draws, items, factor)
        }
        cells = [_cell(row[name]) for name in names]
        width = f"{row['jackknife-t'].half_width:.2f}"
        lines.append(f"| {seeds} x {draws}, {items} | {factor:g} | " + " | ".join([*cells, width]) + " |")
    return "\n".join(lines)


def _cell(outcome: Outcome) -> str:
    unbounded = f" ({outcome.unbounded:.0f} open)" if outcome.unbounded else ""
    return f"{outcome.coverage:.1f}{unbounded}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="write the outcomes as JSON")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    for design in DESIGNS:
        for factor in FACTORS:
            outcomes += study(*design, factor, options.replicates)
        print(f"done: {design[0]} x {design[1]}, {design[2]} items", flush=True)
    print(table(outcomes))
    if options.out:
        options.out.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1))


if __name__ == "__main__":
    main()
