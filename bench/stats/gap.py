"""How much of what is above chance needs masks: the gap between two kinds of supervision, in several metrics.

A score that image labels nearly reach (is the class there?) and one that they do not (where is it?) have different
scales; (pixel - image) / (pixel - chance) puts their gaps side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from bench.stats.curves import known, replicates
from bench.stats.jackknife import jackknife
from bench.stats.layout import Layout, layout
from bench.stats.stack import compare

CHANCE = {  # what comes without looking, by metric: the best of these entries of `details`
    "exact_ratio": ("exact_ratio_all_absent", "exact_ratio_all_present"),
    "miou": ("miou_all_foreground",),
}
GAPS = {
    "metric": pl.String(),
    "label_budget": pl.String(),
    "pixel": pl.Float64(),
    "image": pl.Float64(),
    "chance": pl.Float64(),
    "gap": pl.Float64(),
    "gap_low": pl.Float64(),
    "gap_high": pl.Float64(),
    "share": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "reason": pl.String(),
    "n_seeds": pl.Int64(),
    "n_draws": pl.Int64(),
    "coverage": pl.Float64(),
    "mark": pl.String(),
}
AT_CHANCE = "the upper score cannot be told from chance"


def chance(rows: pl.DataFrame) -> dict[str, float]:
    """What comes without looking at the query, of each metric whose rows say so in `details`.

    The same for every entrant: it follows from the test episodes. Rows of other test episodes must not be among them.
    """
    found = {}
    for metric, names in CHANCE.items():
        values = [rows["details"].str.json_path_match(f"$.{name}").cast(pl.Float64).mean() for name in names]
        said = [float(value) for value in values if isinstance(value, float)]
        if said:
            found[metric] = max(said)
    return found


def gaps(
    rows: pl.DataFrame,
    items: pl.DataFrame | None,
    *,
    pixel: str,
    image: str,
    baselines: Mapping[str, float],
    level: float = 0.95,
) -> pl.DataFrame:
    """(pixel - image) / (pixel - chance) in each metric at each shared budget, with its crossed jackknife-t.

    Chance is taken as known. A share of nothing is no number: where the interval of pixel - chance reaches zero it is
    null, with the reason. Two entrants of one method have seeds in common, but their seeds are left out apart, as in
    every comparison.

    Args:
        rows, items, level: as in `curves`.
        pixel: the entrant that learns from masks.
        image: the one that learns from image labels.
        baselines: score of chance by metric; see `chance`.

    Returns:
        metric, label_budget; pixel, image and chance, scores; gap, gap_low, gap_high, of pixel - image; share, low,
        high (0: image labels do as well; 1: they are at chance); reason; n_seeds, n_draws, coverage, mark.

    Raises:
        UserError: an entrant has no rows.
    """
    records = []
    for metric, base in baselines.items():
        data = layout(rows, items, metric=metric)
        data.require(pixel, image)
        for budget in data.scores[pixel].budgets:
            if budget in data.scores[image].budgets:
                record = _gap(data, pixel, image, budget, base, level)
                records += [record] if record else []
    return pl.DataFrame(records, schema=GAPS)


def _gap(data: Layout, pixel: str, image: str, budget: str, base: float, level: float) -> dict[str, Any] | None:
    """One line of the table; None where no seed x draw is common to the two."""
    stack = compare(data, [pixel, image], budgets=[budget])
    if stack is None:
        return None
    upper, lower = (stack.curves[name].values[:, 0] for name in (pixel, image))
    gap, whole = jackknife(upper - lower, stack.factors), jackknife(upper - base, stack.factors)
    low, high = (known(float(end)) for end in gap.interval(level))
    record = {"metric": data.metric, "label_budget": budget, "pixel": float(upper[0]), "image": float(lower[0])}
    record |= {"chance": base, "gap": float(gap.value), "gap_low": low, "gap_high": high} | replicates(stack)
    above = known(float(whole.interval(level)[0]))
    if above is None or above <= 0:
        return record | {"reason": AT_CHANCE}
    with np.errstate(divide="ignore", invalid="ignore"):
        share = jackknife(np.asarray((upper - lower) / (upper - base)), stack.factors)
    ends = (known(float(end)) for end in share.interval(level))
    return record | {"share": float(share.value), **dict(zip(("low", "high"), ends, strict=True))}
