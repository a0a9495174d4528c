"""Ranks with intervals, on the cells that all entrants have."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from bench.stats.arrays import FloatArray, IntArray
from bench.stats.jackknife import jackknife
from bench.stats.layout import Layout, layout
from bench.stats.multiplicity import holm
from bench.stats.stack import Stack, compare

RANKS = {
    "entrant": pl.String(),
    "rank": pl.Int64(),
    "low": pl.Int64(),
    "high": pl.Int64(),
    "score": pl.Float64(),
    "cells": pl.Int64(),
    "coverage": pl.Float64(),
    "mark": pl.String(),
}


def ranks(
    rows: pl.DataFrame | Layout, items: pl.DataFrame | None, *, metric: str = "balanced_accuracy", level: float = 0.95
) -> pl.DataFrame:
    """Rank of each entrant by its mean score over the label budgets and draws that all entrants have.

    The interval of a rank counts who is better and who is worse beyond chance: crossed jackknife-t tests against every
    other entrant, paired on draws and test items, Holm over the tests of one entrant (so the interval covers the true
    rank with the level).

    Args:
        rows, items, metric, level: as in `curves`.

    Returns:
        entrant, rank (1 is best, ties share the better rank), low, high, score (mean over the common cells), cells (its
        seed x draw x budget cells used), coverage (their share of the cells of all budgets and draws that any entrant
        has), mark. Best first; ranks are null where no budget or draw is common to all.
    """
    data = layout(rows, items, metric=metric)
    entrants = sorted(data.scores)
    shared = [set(data.scores[entrant].budgets) for entrant in entrants]
    budgets = set.intersection(*shared) if shared else set()
    stack = compare(data, entrants, budgets=sorted(budgets)) if budgets else None
    if stack is None:
        return pl.DataFrame(
            [{"entrant": e, "cells": 0, "coverage": 0.0, "mark": "nothing common"} for e in entrants], RANKS
        )
    means = np.stack([data.sign * stack.curves[entrant].values.mean(1) for entrant in entrants], axis=1)  # [R, M]
    better = _better(means, stack, 1 - level)
    records = [
        _record(data, stack, entrant, {"budgets": len(budgets)}) | _ranked(means[0], better, at)
        for at, entrant in enumerate(entrants)
    ]
    return pl.DataFrame(records, schema=RANKS).sort("rank", "entrant")


def _better(means: FloatArray, stack: Stack, alpha: float) -> IntArray:
    """+1 where entrant i is better than j beyond chance, -1 where worse, 0 where undecided or untestable; [M, M]."""
    estimate = jackknife(means[:, :, None] - means[:, None, :], stack.factors)
    p = np.where(np.isnan(estimate.variance), 1.0, estimate.p_value())
    others = ~np.eye(len(p), dtype=bool)
    verdicts = np.zeros(p.shape, dtype=np.int64)
    for at in range(len(p)):
        decided = holm(p[at, others[at]]) <= alpha
        verdicts[at, others[at]] = np.where(decided, np.sign(estimate.value[at, others[at]]), 0)
    return verdicts


def _ranked(means: FloatArray, better: IntArray, at: int) -> dict[str, Any]:
    return {
        "rank": 1 + int((means > means[at]).sum()),
        "low": 1 + int((better[at] < 0).sum()),
        "high": len(means) - int((better[at] > 0).sum()),
    }


def _record(data: Layout, stack: Stack, entrant: str, counts: dict[str, int]) -> dict[str, Any]:
    n_seeds = max(stack.n_seeds[entrant], 1)
    cells = n_seeds * stack.n_draws * counts["budgets"]
    everything = len({b for s in data.scores.values() for b in s.budgets})
    draws = max(len({d for s in data.scores.values() for d in s.draws}), 1)
    coverage = cells / (len(data.scores[entrant].seeds) * draws * everything)
    score = float(stack.curves[entrant].values[0].mean())
    return {"entrant": entrant, "score": score, "cells": cells, "coverage": coverage, "mark": stack.mark}
