"""Leave-one-out curves: what every statistic is evaluated on, for the entrants that it compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.stats.arrays import BoolArray, FloatArray
from bench.stats.jackknife import Factor
from bench.stats.layout import Layout, Scores

IntervalForm = Literal["jackknife", "anova"]
ENOUGH_SEEDS = 5


@dataclass(frozen=True)
class Curve:
    """Mean scores of one entrant: values [R, B], row 0 on all data, the rest with one level of one factor left out."""

    budgets: tuple[str, ...]
    labels: FloatArray
    values: FloatArray


@dataclass(frozen=True)
class Stack:
    """The curves of the compared entrants, and how many replicates stand behind them.

    scores: the cells themselves, [S, D, B, V] of each entrant. n_seeds: seeds of each entrant, 0 for a seedless one.
    cells: seed x draw x budget cells used; coverage: their share of the cells these entrants have. mark: "" or why the
    interval is to be read with care.
    """

    factors: tuple[Factor, ...]
    curves: Mapping[str, Curve]
    scores: Mapping[str, FloatArray]
    n_seeds: Mapping[str, int]
    n_draws: int
    cells: int
    coverage: float
    mark: str


def compare(
    layout: Layout,
    entrants: Sequence[str],
    *,
    budgets: Sequence[str] | None = None,
    form: IntervalForm = "jackknife",
) -> Stack | None:
    """Leave-one-out curves of these entrants on the seeds x draws that are complete for all their budgets.

    Draws are common to the entrants, seeds are each entrant's own. None when no seed x draw is complete.

    Args:
        layout: the scores.
        entrants: whom to compare; repeated names count once.
        budgets: use these label budgets alone.
        form: "anova" adds the cells that the analysis-of-variance form needs.
    """
    chosen = [layout.scores[entrant] for entrant in dict.fromkeys(entrants)]
    if budgets is not None:
        chosen = [scores.only(budgets) for scores in chosen]
    drawn = [set(scores.draws) for scores in chosen if scores.draws]
    # What one entrant was never asked for is no gap to mend: only draws that all of them have can be compared.
    draws = sorted(set.intersection(*drawn)) if drawn else []
    if drawn and not draws:
        return None
    spread = [_spread(scores, draws) for scores in chosen]
    kept = _complete([np.isfinite(values[..., 0]) for values in spread])
    if kept is None:
        return None
    keep_seeds, keep_draws = kept
    values = [v[seeds][:, keep_draws] for v, seeds in zip(spread, keep_seeds, strict=True)]
    factors = crossed_factors([scores.entrant for scores in chosen], values, form)
    curves = {
        scores.entrant: Curve(scores.budgets, scores.labels, leave_one_out(scores.entrant, v, factors))
        for scores, v in zip(chosen, values, strict=True)
    }
    n_seeds = {s.entrant: 0 if s.seedless else len(v) for s, v in zip(chosen, values, strict=True)}
    n_draws, n_groups = values[0].shape[1], values[0].shape[3] - 1
    cells = sum(v[..., 0].size for v in values)
    had = [scores.values if scores.draws else v for scores, v in zip(chosen, spread, strict=True)]
    coverage = cells / sum(int(np.isfinite(v[..., 0]).sum()) for v in had)
    mark = _mark(list(n_seeds.values()), n_draws if drawn else None, n_groups)
    cells_of = {scores.entrant: v for scores, v in zip(chosen, values, strict=True)}
    return Stack(factors, curves, cells_of, n_seeds, n_draws, cells, coverage, mark)


def _spread(scores: Scores, draws: Sequence[int]) -> FloatArray:
    """Scores on the draws of the comparison, [S, D, B, V]: NaN where absent; an entrant without draws has all."""
    if not scores.draws:
        return np.repeat(scores.values, max(len(draws), 1), axis=1)
    return scores.values[:, [scores.draws.index(draw) for draw in draws]]


def _complete(measured: list[BoolArray]) -> tuple[list[BoolArray], BoolArray] | None:
    """Seeds of each entrant [S] and common draws [D] whose cells are all measured.

    Drops, one after the other, the seed or draw with the largest share of missing cells (a draw first, where they tie).
    """
    seeds = [np.ones(len(m), dtype=bool) for m in measured]
    draws = np.ones(measured[0].shape[1], dtype=bool)
    while draws.any() and all(s.any() for s in seeds):
        left = [~m[s][:, draws] for m, s in zip(measured, seeds, strict=True)]
        if not any(m.any() for m in left):
            return seeds, draws
        by_draw = np.concatenate([m.swapaxes(0, 1).reshape(m.shape[1], -1) for m in left], axis=1).mean(1)
        by_seed = [m.mean((1, 2)) for m in left]
        worst = int(np.argmax([m.max() for m in by_seed]))
        if by_draw.max() >= by_seed[worst].max():
            draws[np.flatnonzero(draws)[by_draw.argmax()]] = False
        else:
            seeds[worst][np.flatnonzero(seeds[worst])[by_seed[worst].argmax()]] = False
    return None


def crossed_factors(names: Sequence[str], values: Sequence[FloatArray], form: IntervalForm) -> tuple[Factor, ...]:
    """The factors of these entrants' cells [S, D, B, 1 + G] with at least two levels, and their place in the stack."""
    n_seeds, n_draws, n_groups = [len(v) for v in values], values[0].shape[1], values[0].shape[3] - 1
    sizes: list[tuple[str, int, tuple[int, int] | None]] = [
        (f"seeds of {name}", n, None) for name, n in zip(names, n_seeds, strict=True)
    ]
    sizes += [("draws", n_draws, None), ("test items", n_groups, None)]
    if form == "anova" and n_draws > 1:
        crossed = [(name, n) for name, n in zip(names, n_seeds, strict=True) if n > 1]
        sizes += [(f"cells of {name}", n * n_draws, (n, n_draws)) for name, n in crossed]
    sizes = [size for size in sizes if size[1] > 1]
    starts = np.cumsum([1, *(levels for _, levels, _ in sizes)]).tolist()
    return tuple(
        Factor(name, slice(start, start + levels), crossing)
        for start, (name, levels, crossing) in zip(starts, sizes, strict=False)
    )


def leave_one_out(entrant: str, values: FloatArray, factors: Sequence[Factor]) -> FloatArray:
    """Mean scores [R, B] of one entrant's cells [S, D, B, 1 + G]: on all data, then without each level in turn."""
    whole = values[..., 0]  # [S, D, B]
    mean = whole.mean((0, 1))
    levels = {
        f"seeds of {entrant}": whole.mean(1),
        "draws": whole.mean(0),
        f"cells of {entrant}": whole.reshape(-1, len(mean)),
    }
    parts = [mean[None]]
    for factor in factors:
        if factor.name == "test items":
            parts.append(values[..., 1:].mean((0, 1)).T)
        elif factor.name in levels:
            parts.append(_without(mean, levels[factor.name]))
        else:
            parts.append(np.tile(mean, (factor.levels, 1)))
    return np.concatenate(parts)


def _without(mean: FloatArray, levels: FloatArray) -> FloatArray:
    """Mean over the other levels, [n, B], from the mean and the level means."""
    return (len(levels) * mean - levels) / (len(levels) - 1)


def _mark(n_seeds: Sequence[int], n_draws: int | None, n_groups: int) -> str:
    seeds = [n for n in n_seeds if n > 0]
    marks = []
    if 1 in seeds:
        marks.append("one seed")
    elif seeds and min(seeds) < ENOUGH_SEEDS:
        marks.append("few seeds")
    if n_draws == 1:
        marks.append("one draw")
    if n_groups == 0:
        marks.append("this test set only")
    return ", ".join(marks)
