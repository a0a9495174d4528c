"""The crossed jackknife-t: an interval for any statistic of data crossed over seeds, draws and test items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.stats.arrays import FloatArray, t_quantile, t_two_sided


@dataclass(frozen=True)
class Factor:
    """One way of leaving data out: which rows of the stack of leave-one-out values leave out its levels.

    `crossing` is (S, D) for the seed-by-draw cells of an entrant, whose interaction the analysis-of-variance form
    subtracts.
    """

    name: str
    rows: slice
    crossing: tuple[int, int] | None = None

    @property
    def levels(self) -> int:
        return int(self.rows.stop - self.rows.start)


@dataclass(frozen=True)
class Estimate:
    """A statistic with its variance by factor; every array has the statistic's shape.

    `terms` maps a factor to its part of the variance, `levels` to its number of levels. Without any term the variance
    is NaN: unknown, not zero.
    """

    value: FloatArray
    variance: FloatArray
    df: FloatArray
    terms: dict[str, FloatArray]
    levels: dict[str, int]

    def half_width(self, level: float) -> FloatArray:
        """Half-width of the two-sided interval at this level."""
        return t_quantile(0.5 + level / 2, self.df) * np.sqrt(self.variance)

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Lower and upper end of the two-sided interval."""
        half = self.half_width(level)
        return self.value - half, self.value + half

    def p_value(self, null: float = 0.0) -> FloatArray:
        """Two-sided p-value of the hypothesis that the statistic is `null`; 1 where it is exactly that."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (self.value - null) / np.sqrt(self.variance)
        return t_two_sided(np.where(self.value == null, 0.0, ratio), self.df)


def jackknife(values: FloatArray, factors: Sequence[Factor]) -> Estimate:
    """Crossed jackknife-t of a statistic evaluated on a leave-one-out stack (docs/statistics.md, Interval).

    V = sum over factors of (n - 1) / n * sum_a (T(-a) - mean T(-a))^2; Satterthwaite degrees of freedom, at least 1.
    Factors with a `crossing` switch to the analysis-of-variance form: their interaction, counted once by the seeds and
    once by the draws, is subtracted, and the sum is floored at the draw term and at the seed terms.

    Args:
        values: [R, ...], row 0 on all data, the other rows as the factors say.
        factors: the factors, at least two levels each.
    """
    terms = {factor.name: _term(values[factor.rows]) for factor in factors if factor.crossing is None}
    freedom = {factor.name: factor.levels - 1.0 for factor in factors}
    crossings = {factor.name: _interaction(values, factor) for factor in factors if factor.crossing}
    freedom |= {f.name: (f.crossing[0] - 1.0) * (f.crossing[1] - 1.0) for f in factors if f.crossing}
    if not terms:
        nothing = np.full_like(values[0], np.nan)
        return Estimate(values[0], nothing, np.ones_like(values[0]), {}, {})
    variance = _total(terms, crossings)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = sum((term**2 / freedom[name] for name, term in (terms | crossings).items()), np.zeros_like(variance))
        df = np.where(spread > 0, variance**2 / spread, 1.0)
    levels = {factor.name: factor.levels for factor in factors if factor.crossing is None}
    return Estimate(values[0], variance, np.maximum(df, 1.0), terms, levels)


def _term(left_out: FloatArray) -> FloatArray:
    """(n - 1) / n * sum of squares about the mean, over the first dimension."""
    with np.errstate(invalid="ignore"):
        return np.asarray((len(left_out) - 1) * left_out.var(0))


def _interaction(values: FloatArray, factor: Factor) -> FloatArray:
    """Variance of the mean that the seed-by-draw interaction explains, from the pseudo-values of the cells."""
    assert factor.crossing is not None  # nosec B101 # for mypy: the caller asked
    seeds, draws = factor.crossing
    n = seeds * draws
    cells = (n * values[:1] - (n - 1) * values[factor.rows]).reshape(seeds, draws, *values.shape[1:])
    residual = cells - cells.mean(0, keepdims=True) - cells.mean(1, keepdims=True) + cells.mean((0, 1), keepdims=True)
    return np.asarray((residual**2).sum((0, 1)) / ((seeds - 1) * (draws - 1) * n))


def _total(terms: dict[str, FloatArray], crossings: dict[str, FloatArray]) -> FloatArray:
    """Sum of the terms, interactions subtracted, not below the draw term nor below the seed terms."""
    zero = np.zeros_like(next(iter(terms.values())))
    draws = terms.get("draws", zero)
    test = terms.get("test items", zero)
    seeds = sum(terms.values(), zero) - draws - test
    replicates = seeds + draws - sum(crossings.values(), zero)
    return np.maximum(replicates, np.maximum(draws, seeds)) + test
