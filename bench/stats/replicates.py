"""How many replicates an interval would need: to decide, or to be half as wide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.stats.arrays import FloatArray, t_quantile
from bench.stats.jackknife import Estimate

MULTIPLES = np.geomspace(1.0, 1000.0, 4001)


@dataclass(frozen=True)
class Needed:
    """Replicates for a goal: seeds (of each seeded entrant; 0: seedless) and draws; None when no number is enough."""

    seeds: int | None
    draws: int | None


OUT_OF_REACH = Needed(None, None)


def needed(estimate: Estimate, half_width: float, *, n_seeds: int, n_draws: int, level: float) -> Needed:
    """Seeds and draws, both grown by one factor, at which the half-width of a scalar estimate falls to `half_width`.

    The variance of the replicates falls with their number, that of the test items stays; the degrees of freedom grow
    alike. Out of reach when the test items alone are too few, or beyond 1000 times the replicates.
    """
    enough = np.flatnonzero(_half_widths(estimate, level) <= half_width)
    if not len(enough):
        return OUT_OF_REACH
    multiple = float(MULTIPLES[enough[0]])
    return Needed(math.ceil(multiple * n_seeds), math.ceil(multiple * n_draws))


def detectable(estimate: Estimate, *, level: float, power: float) -> float:
    """Smallest true effect that a two-sided test at this level finds with this power, given the variance."""
    quantiles = t_quantile(0.5 + level / 2, estimate.df) + t_quantile(power, estimate.df)
    return float(quantiles * np.sqrt(estimate.variance))


def _half_widths(estimate: Estimate, level: float) -> FloatArray:
    """Half-width at each multiple of the replicates, [multiples]."""
    test = float(estimate.terms.get("test items", np.float64(0.0)))
    variance = (float(estimate.variance) - test) / MULTIPLES + test
    spread = np.zeros_like(MULTIPLES)
    for name, term in estimate.terms.items():
        grows = 1.0 if name == "test items" else MULTIPLES
        spread += (float(term) / grows) ** 2 / (estimate.levels[name] * grows - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.maximum(np.where(spread > 0, variance**2 / spread, 1.0), 1.0)
    return t_quantile(0.5 + level / 2, df) * np.sqrt(variance)
