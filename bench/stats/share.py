"""The share of a gain that remains: what noisy labels keep of what clean labels gain over a common start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from bench.stats.arrays import FloatArray
from bench.stats.curves import known, replicates
from bench.stats.jackknife import Estimate, jackknife
from bench.stats.layout import Layout, layout
from bench.stats.stack import compare

SHARES = {
    "entrant": pl.String(),
    "label_budget": pl.String(),
    "n_labels": pl.Int64(),
    "gain": pl.Float64(),
    "whole": pl.Float64(),
    "whole_low": pl.Float64(),
    "share": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "reason": pl.String(),
    "n_seeds": pl.Int64(),
    "n_draws": pl.Int64(),
    "coverage": pl.Float64(),
    "mark": pl.String(),
}
NO_GAIN = "the whole gain cannot be told from nothing"


def shares(
    rows: pl.DataFrame | Layout,
    items: pl.DataFrame | None,
    *,
    entrants: Sequence[str],
    ceiling: str,
    baseline: str,
    metric: str = "miou",
    level: float = 0.95,
) -> pl.DataFrame:
    """(entrant - baseline) / (ceiling - baseline) at each budget that the three share, with its crossed jackknife-t.

    A share of a gain that may be nothing is no number: where the interval of ceiling - baseline reaches zero it is
    null, with the reason. The seeds of all three, the draws and, where there are bitmaps, the test items are left out
    in turn; what varies in the common baseline and ceiling so counts once.

    Args:
        rows, items, metric, level: as in `curves`.
        entrants: whose gain is a part, e.g. noisy labels at several rates.
        ceiling: whose gain is the whole, e.g. clean labels.
        baseline: what both gains are over, e.g. random initialisation.

    Returns:
        entrant, label_budget, n_labels; gain (of the entrant) and whole (of the ceiling, whole_low the lower end of
        its interval), score differences; share, low, high (1: nothing is lost; below 0: worse than the baseline);
        reason (why the share is null); n_seeds, n_draws, coverage, mark. Ascending in labels for each entrant.

    Raises:
        UserError: an entrant has no rows.
    """
    data = layout(rows, items, metric=metric)
    data.require(*entrants, ceiling, baseline)
    records = []
    for entrant in dict.fromkeys(entrants):
        shared = [set(data.scores[name].budgets) for name in (entrant, ceiling, baseline)]
        for budget in data.scores[entrant].budgets:
            if all(budget in budgets for budgets in shared):
                record = _share(data, entrant, ceiling, baseline, budget, level)
                records += [record] if record else []
    return pl.DataFrame(records, schema=SHARES)


def _share(data: Layout, entrant: str, ceiling: str, baseline: str, budget: str, level: float) -> dict[str, Any] | None:
    """One line of the table; None where no seed x draw is common to the three."""
    stack = compare(data, [entrant, ceiling, baseline], budgets=[budget])
    if stack is None:
        return None
    noisy, clean, start = (stack.curves[name].values[:, 0] for name in (entrant, ceiling, baseline))
    gain, whole = data.sign * (noisy - start), data.sign * (clean - start)
    ceiled = jackknife(whole, stack.factors)
    whole_low = known(float(ceiled.interval(level)[0]))
    curve = stack.curves[entrant]
    record = {"entrant": entrant, "label_budget": budget, "n_labels": round(float(curve.labels[0]))}
    record |= {"gain": float(gain[0]), "whole": float(whole[0]), "whole_low": whole_low} | replicates(stack)
    if whole_low is None or whole_low <= 0:
        return record | {"reason": NO_GAIN}
    return record | _interval(jackknife(_ratio(gain, whole), stack.factors), level)


def _ratio(gain: FloatArray, whole: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(gain / whole)


def _interval(estimate: Estimate, level: float) -> dict[str, float | None]:
    low, high = (known(float(end)) for end in estimate.interval(level))
    return {"share": float(estimate.value), "low": low, "high": high}
