"""How the score of one entrant changed between two sets of rows, with an interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from bench.results.opening import Opened
from bench.stats.arrays import FloatArray
from bench.stats.curves import log_area
from bench.stats.jackknife import Estimate, Factor, jackknife
from bench.stats.layout import Layout, layout
from bench.stats.stack import compare

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Change:
    """Scores over the label budgets that both have, and their difference; `why_not` where there is none to tell."""

    before: float | None = None
    after: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    why_not: str = ""


def score_change(before: Opened, after: Opened, entrant: str, metric: str, level: float) -> Change:
    """After less before, of the area over the common label budgets.

    On the same split, draws and test items are paired; on different ones the two are independent (Welch). Seeds are
    never paired: other code may make other numbers of the same seed.
    """
    sides = {BEFORE: before, AFTER: after}
    rows = {name: side.scored(metric).filter(pl.col("entrant") == entrant) for name, side in sides.items()}
    rows = {name: part.with_columns(entrant=pl.lit(name)) for name, part in rows.items()}
    budgets = sorted(set(rows[BEFORE]["label_budget"]) & set(rows[AFTER]["label_budget"]))
    if not budgets:
        return Change(why_not="no label budget in common")
    splits = {digest for part in rows.values() for digest in part["split_digest"]}
    if len(splits) == 1:
        both = pl.concat(rows.values())
        found = _areas(layout(both, after.test_items, metric=metric), [BEFORE, AFTER], budgets)
        if found is None:
            return Change(why_not="no draw complete in both")
        values, factors = found
        return _told(float(values[0, 0]), float(values[0, 1]), jackknife(values[:, 1] - values[:, 0], factors), level)
    parts = []
    for name, side in sides.items():
        found = _areas(layout(rows[name], side.test_items, metric=metric), [name], budgets)
        if found is None:
            return Change(why_not="no draw complete in both")
        parts.append(jackknife(found[0][:, 0], found[1]))
    return _told(float(parts[0].value), float(parts[1].value), _independent(*parts), level)


def _areas(data: Layout, names: list[str], budgets: list[str]) -> tuple[FloatArray, tuple[Factor, ...]] | None:
    """Areas [R, names] of the leave-one-out stack, and its factors."""
    stack = compare(data, names, budgets=budgets)
    if stack is None:
        return None
    curves = [stack.curves[name] for name in names]
    return np.stack([log_area(curve.values, curve.labels) for curve in curves], axis=1), stack.factors


def _independent(before: Estimate, after: Estimate) -> Estimate:
    """The difference of two independent estimates, its degrees of freedom after Welch and Satterthwaite."""
    variance = before.variance + after.variance
    with np.errstate(divide="ignore", invalid="ignore"):
        df = variance**2 / (before.variance**2 / before.df + after.variance**2 / after.df)
    return Estimate(after.value - before.value, variance, np.where(np.isfinite(df), df, 1.0), {}, {})


def _told(before: float, after: float, difference: Estimate, level: float) -> Change:
    low, high = (float(end) for end in difference.interval(level))
    if np.isnan(low):
        return Change(before, after)
    return Change(before, after, low, high, float(difference.p_value()))
