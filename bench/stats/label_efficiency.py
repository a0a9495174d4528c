"""Labels saved: how many times more labels the reference needs to reach the entrant's score, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from bench.stats.arrays import FloatArray
from bench.stats.curves import known, replicates
from bench.stats.factors import factor_at_budget, factor_overall, labels_needed
from bench.stats.inversion import contrast_interval
from bench.stats.jackknife import Estimate, jackknife
from bench.stats.layout import Layout, layout
from bench.stats.reference import Pair, check_references, pair, scaled
from bench.stats.replicates import needed
from bench.stats.stack import IntervalForm

OVERALL: dict[str, pl.DataType] = {
    "entrant": pl.String(),
    "factor": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "censored": pl.String(),
    "reference": pl.String(),
    "reason": pl.String(),
    "n_seeds": pl.Int64(),
    "n_draws": pl.Int64(),
    "coverage": pl.Float64(),
    "mark": pl.String(),
}
HALVING: dict[str, pl.DataType] = {"seeds_to_halve": pl.Int64(), "draws_to_halve": pl.Int64()}
AT_BUDGET = {"entrant": pl.String(), "label_budget": pl.String(), "n_labels": pl.Int64()} | OVERALL
NOTHING_COMPLETE = "no seed and draw is complete for the entrant and its references"
NO_RANGE = "the curves share no range of scores"
FRAGILE = "without some replicate the curves share no range of scores"
NEITHER = "neither curve reaches the target"
BOTH = "both curves are beyond the target at their fewest labels"


def labels_saved(
    rows: pl.DataFrame | Layout,
    items: pl.DataFrame | None,
    *,
    reference: Sequence[str],
    metric: str = "balanced_accuracy",
    level: float = 0.95,
    form: IntervalForm = "jackknife",
) -> pl.DataFrame:
    """Label-saving factor of each entrant at each of its budgets, the interval by test inversion.

    Args:
        rows, items, metric, level, form: as in `curves`.
        reference: entrants that use no pretraining; the better at each budget is what an entrant is measured against.

    Returns:
        entrant, label_budget, n_labels, factor (1: saves nothing), low, high (0 and inf where unbounded, null where
        nothing was replicated), censored ("", ">=": the reference never catches up, factor is the largest ratio that
        its budgets could show; "<=": it is ahead at its fewest labels already), reference (those chosen), reason (why
        the factor is null), n_seeds (fewest of a seeded entrant compared), n_draws, coverage, mark (as in `curves`).

    Raises:
        UserError: no reference, or one without rows.
    """
    data = layout(rows, items, metric=metric)
    check_references(data, reference)
    records = []
    for entrant, scores in sorted(data.scores.items()):
        compared = pair(data, entrant, reference, form)
        for budget, labels in zip(scores.budgets, scores.labels, strict=True):
            head = {"entrant": entrant, "label_budget": budget, "n_labels": round(labels)}
            records.append(
                head | (_at_budget(compared, np.log2(labels), level) if compared else _incomplete(reference))
            )
    return pl.DataFrame(records, schema=AT_BUDGET)


def labels_saved_overall(
    rows: pl.DataFrame | Layout,
    items: pl.DataFrame | None,
    *,
    reference: Sequence[str],
    metric: str = "balanced_accuracy",
    level: float = 0.95,
    form: IntervalForm = "jackknife",
) -> pl.DataFrame:
    """Label-saving factor of each entrant over all scores that it and the reference both reach, by the crossed
    jackknife-t.

    Arguments and columns as in `labels_saved`, without a budget. The factor is null, with a reason, where the curves
    share no range of scores; its interval is unbounded where leaving out one replicate makes that so.
    Two more columns, seeds_to_halve and draws_to_halve: replicates at which the interval of log2 of the factor would be
    half as wide; null when the test items are too few for that.
    """
    data = layout(rows, items, metric=metric)
    check_references(data, reference)
    records = []
    for entrant in sorted(data.scores):
        compared = pair(data, entrant, reference, form)
        records.append({"entrant": entrant} | (_overall(compared, level) if compared else _incomplete(reference)))
    return pl.DataFrame(records, schema=OVERALL | HALVING)


def labels_saved_at(
    rows: pl.DataFrame | Layout,
    items: pl.DataFrame | None,
    *,
    target: float,
    reference: Sequence[str],
    metric: str = "balanced_accuracy",
    level: float = 0.95,
    form: IntervalForm = "jackknife",
) -> pl.DataFrame:
    """Label-saving factor of each entrant at a target score, the interval by test inversion.

    Arguments and columns as in `labels_saved`, without a budget; `target` is on the scale of the metric. The factor is
    null, with a reason, where neither curve reaches the target or both are beyond it from the start.
    """
    data = layout(rows, items, metric=metric)
    check_references(data, reference)
    wanted = float(scaled(data, np.array(target)))
    records = []
    for entrant in sorted(data.scores):
        compared = pair(data, entrant, reference, form)
        records.append({"entrant": entrant} | (_at(compared, wanted, level) if compared else _incomplete(reference)))
    return pl.DataFrame(records, schema=OVERALL)


def _incomplete(reference: Sequence[str]) -> dict[str, Any]:
    return {
        "censored": "",
        "reference": ", ".join(sorted(set(reference))),
        "reason": NOTHING_COMPLETE,
        "n_seeds": 0,
        "n_draws": 0,
        "coverage": 0.0,
        "mark": "nothing complete",
    }


def _at_budget(compared: Pair, knot: float, level: float) -> dict[str, Any]:
    if compared.with_itself:
        return _record(compared, 0.0, np.nan, (0.0, 0.0))
    at = int(np.searchsorted(compared.entrant_knots, knot))
    value = float(factor_at_budget(*compared.curves)[0, at])
    scores = compared.entrant[:, at]
    ends = _inverted(compared, scores, np.full_like(scores, knot), level)
    return _record(compared, value, _bound(value, compared.reference_knots, knot), ends)


def _overall(compared: Pair, level: float) -> dict[str, Any]:
    if compared.with_itself:
        return _record(compared, 0.0, np.nan, (0.0, 0.0))
    values = factor_overall(*compared.curves)
    if np.isnan(values[0]):
        return _record(compared, np.nan, np.nan, (np.nan, np.nan), NO_RANGE)
    if np.isnan(values).any():
        return _record(compared, float(values[0]), np.nan, (-np.inf, np.inf), FRAGILE)
    estimate = jackknife(values, compared.stack.factors)
    low, high = estimate.interval(level)
    return _record(compared, float(values[0]), np.nan, (float(low), float(high))) | _halving(compared, estimate, level)


def _halving(compared: Pair, estimate: Estimate, level: float) -> dict[str, int | None]:
    counts = replicates(compared.stack)
    half = float(estimate.half_width(level)) / 2
    more = needed(estimate, half, n_seeds=counts["n_seeds"], n_draws=counts["n_draws"], level=level)
    return {"seeds_to_halve": more.seeds, "draws_to_halve": more.draws}


def _at(compared: Pair, target: float, level: float) -> dict[str, Any]:
    if compared.with_itself:
        return _record(compared, 0.0, np.nan, (0.0, 0.0))
    entrant = labels_needed(compared.entrant, compared.entrant_knots, target)
    reference = labels_needed(compared.reference, compared.reference_knots, target)
    if np.isinf(entrant[0]) and entrant[0] == reference[0]:
        return _record(compared, np.nan, np.nan, (np.nan, np.nan), NEITHER if entrant[0] > 0 else BOTH)
    value = float(reference[0] - entrant[0])
    bound = np.clip(reference[0], *compared.reference_knots[[0, -1]]) - np.clip(
        entrant[0], *compared.entrant_knots[[0, -1]]
    )
    return _record(compared, value, float(bound), _target_ends(compared, target, entrant, reference, level))


def _target_ends(
    compared: Pair, target: float, entrant: FloatArray, reference: FloatArray, level: float
) -> tuple[float, float]:
    """Interval at a target: one curve is solved for its labels, the other tested against them.

    The curve solved is the one that needs fewer labels, so that swapping entrant and reference mirrors the interval;
    it must reach the target in every leave-one-out. Unbounded when neither does.
    """
    solved, other = bool(np.isfinite(entrant).all()), bool(np.isfinite(reference).all())
    if solved and (not other or entrant[0] <= reference[0]):
        return _inverted(compared, np.full_like(entrant, target), entrant, level)
    if not other:
        return -np.inf, np.inf
    levels = np.full_like(reference, target)
    factors = compared.stack.factors
    low, high = contrast_interval(levels, reference, compared.entrant, compared.entrant_knots, factors, level=level)
    return -float(high), -float(low)


def _inverted(compared: Pair, levels: FloatArray, labels: FloatArray, level: float) -> tuple[float, float]:
    knots, factors = compared.reference_knots, compared.stack.factors
    low, high = contrast_interval(levels, labels, compared.reference, knots, factors, level=level)
    return float(low), float(high)


def _bound(value: float, reference_knots: FloatArray, knot: float) -> float:
    return float(reference_knots[-1 if value > 0 else 0] - knot)


def _record(
    compared: Pair, value: float, bound: float, ends: tuple[float, float], reason: str | None = None
) -> dict[str, Any]:
    """The columns of one factor, from log2 labels; a censored factor shows its bound, and lies inside its interval."""
    censored = "" if not np.isinf(value) else ">=" if value > 0 else "<="
    shown = bound if censored else value
    low, high = ends if compared.stack.factors else (np.nan, np.nan)
    return {
        "factor": known(2.0**shown),
        "low": known(2.0 ** min(low, shown)),
        "high": known(2.0 ** max(high, shown)),
        "censored": censored,
        "reference": ", ".join(dict.fromkeys(compared.reference_names)),
        "reason": reason,
    } | replicates(compared.stack)
