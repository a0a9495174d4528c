"""Where the noise of a score comes from (seeds, draws, interaction, test items) and what differences it hides."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from scipy import special

from bench.stats.arrays import FloatArray
from bench.stats.curves import known, replicates
from bench.stats.jackknife import jackknife
from bench.stats.layout import Layout, layout
from bench.stats.replicates import detectable, needed
from bench.stats.stack import Stack, compare

SOURCES = ("seed", "draw", "interaction", "test")
SPLIT = {
    "entrant": pl.String(),
    "label_budget": pl.String(),
    "n_labels": pl.Int64(),
    **{f"{source}_sd": pl.Float64() for source in SOURCES},
    **{f"{source}_share": pl.Float64() for source in SOURCES},
    "p_seed": pl.Float64(),
    "p_draw": pl.Float64(),
    "n_seeds": pl.Int64(),
    "n_draws": pl.Int64(),
    "coverage": pl.Float64(),
    "mark": pl.String(),
}
DIFFERENCES = {
    "entrant": pl.String(),
    "label_budget": pl.String(),
    "n_labels": pl.Int64(),
    "difference": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p": pl.Float64(),
    "detectable": pl.Float64(),
    "seeds_to_decide": pl.Int64(),
    "draws_to_decide": pl.Int64(),
    "seeds_to_halve": pl.Int64(),
    "draws_to_halve": pl.Int64(),
    "n_seeds": pl.Int64(),
    "n_draws": pl.Int64(),
    "coverage": pl.Float64(),
    "mark": pl.String(),
}


def variance_split(
    rows: pl.DataFrame, items: pl.DataFrame | None, *, metric: str = "balanced_accuracy"
) -> pl.DataFrame:
    """Two-way analysis of variance of the seed x draw scores of each entrant at each budget, and the test-item term.

    Args:
        rows, items, metric: as in `curves`.

    Returns:
        entrant, label_budget, n_labels; seed_sd, draw_sd, interaction_sd (standard deviations of the random effects,
        floored at zero), test_sd (standard error of the mean score from this number of test items); seed_share ..
        test_share (of the variance of the mean score); p_seed, p_draw (F tests against the interaction); n_seeds,
        n_draws, coverage, mark. Null where a source has one level: not replicated is unknown, not zero; shares are
        over the known sources.
    """
    data = layout(rows, items, metric=metric)
    records = []
    for entrant, scores in sorted(data.scores.items()):
        for budget, labels in zip(scores.budgets, scores.labels, strict=True):
            stack = compare(data, [entrant], budgets=[budget])
            assert stack is not None  # one budget that was measured has a complete cell  # nosec B101 # for mypy
            head = {"entrant": entrant, "label_budget": budget, "n_labels": round(labels)}
            records.append(head | _split(stack, entrant) | replicates(stack))
    return pl.DataFrame(records, schema=SPLIT)


def differences(
    rows: pl.DataFrame,
    items: pl.DataFrame | None,
    *,
    reference: str,
    metric: str = "balanced_accuracy",
    level: float = 0.95,
    power: float = 0.8,
) -> pl.DataFrame:
    """Score difference of each entrant to one reference at each budget both have: interval, what is detectable, what
    would decide.

    Args:
        rows, items, metric, level: as in `curves`.
        reference: the entrant to subtract.
        power: probability with which the detectable difference would be found.

    Returns:
        entrant, label_budget, n_labels, difference (positive: better than the reference), low, high, p (two-sided),
        detectable (smallest true difference found with this power), seeds_to_decide, draws_to_decide (at which the
        interval would exclude zero, were the difference what it is now; null when test items alone are too few),
        seeds_to_halve, draws_to_halve (the same for half the width), n_seeds, n_draws, coverage, mark.
    """
    data = layout(rows, items, metric=metric)
    data.require(reference)
    records = []
    for entrant in sorted(set(data.scores) - {reference}):
        for budget in data.scores[entrant].budgets:
            shared = budget in data.scores[reference].budgets
            stack = compare(data, [entrant, reference], budgets=[budget]) if shared else None
            if stack is not None:
                records.append(difference(data, stack, entrant, reference, level=level, power=power))
    return pl.DataFrame(records, schema=DIFFERENCES)


def difference(
    data: Layout, stack: Stack, entrant: str, reference: str, *, level: float, power: float = 0.8
) -> dict[str, Any]:
    """One line of `differences`: the stack is of these two entrants, among others, at one budget."""
    curve = stack.curves[entrant]
    estimate = jackknife(data.sign * (curve.values[:, 0] - stack.curves[reference].values[:, 0]), stack.factors)
    low, high = estimate.interval(level)
    counts = replicates(stack)
    goals = {"decide": abs(float(estimate.value)), "halve": float(estimate.half_width(level)) / 2}
    record = {"entrant": entrant, "label_budget": curve.budgets[0], "n_labels": round(curve.labels[0])} | counts
    record |= {"difference": float(estimate.value), "low": known(float(low)), "high": known(float(high))}
    record |= {
        "p": known(float(estimate.p_value())),
        "detectable": known(detectable(estimate, level=level, power=power)),
    }
    for goal, half_width in goals.items():
        more = needed(estimate, half_width, n_seeds=counts["n_seeds"], n_draws=counts["n_draws"], level=level)
        record |= {f"seeds_to_{goal}": more.seeds, f"draws_to_{goal}": more.draws}
    return record


def _split(stack: Stack, entrant: str) -> dict[str, float | None]:
    """The columns of one entrant at one budget."""
    cells = stack.scores[entrant][:, :, 0, 0]  # [S, D]
    seed, draw, interaction = mean_squares(cells)
    n_seeds, n_draws = cells.shape
    free = np.nan_to_num(interaction)  # one level of the other factor: nothing to subtract
    test = jackknife(stack.curves[entrant].values[:, 0], stack.factors).terms.get("test items", np.array(np.nan))
    sizes = np.array([n_seeds, n_draws, n_seeds * n_draws, 1.0])
    variances = np.array(
        [np.maximum(seed - free, 0.0) / n_draws, np.maximum(draw - free, 0.0) / n_seeds, interaction, float(test)]
    )
    of_mean = variances / sizes
    shares = of_mean / np.nansum(of_mean) if np.nansum(of_mean) > 0 else np.full(len(SOURCES), np.nan)
    freedom = (n_seeds - 1) * (n_draws - 1)
    return (
        {f"{source}_sd": known(float(np.sqrt(v))) for source, v in zip(SOURCES, variances, strict=True)}
        | {f"{source}_share": known(float(share)) for source, share in zip(SOURCES, shares, strict=True)}
        | {"p_seed": _f_test(seed, interaction, n_seeds - 1, freedom)}
        | {"p_draw": _f_test(draw, interaction, n_draws - 1, freedom)}
    )


def mean_squares(cells: FloatArray) -> tuple[float, float, float]:
    """Mean squares of a two-way layout without repeats [S, D]: rows, columns, interaction; NaN where one level."""
    n_seeds, n_draws = cells.shape
    by_seed, by_draw, mean = cells.mean(1), cells.mean(0), cells.mean()
    residual = cells - by_seed[:, None] - by_draw + mean
    return (
        _mean_square(n_draws * (by_seed - mean) ** 2, n_seeds - 1),
        _mean_square(n_seeds * (by_draw - mean) ** 2, n_draws - 1),
        _mean_square(residual**2, (n_seeds - 1) * (n_draws - 1)),
    )


def _mean_square(squares: FloatArray, freedom: int) -> float:
    return float(squares.sum() / freedom) if freedom else np.nan


def _f_test(effect: float, error: float, freedom: int, error_freedom: int) -> float | None:
    """p-value of a mean square against the interaction's; None where either is unknown, or both are zero."""
    if not freedom or not error_freedom or effect == error == 0:
        return None
    ratio = np.divide(effect, error) if error > 0 else np.inf
    return float(special.fdtrc(freedom, error_freedom, ratio))
