"""Noise planes: score gained over a baseline with the same clean labels, by budget and by information lost to noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from bench.errors import UserError, unknown
from bench.stats.arrays import FloatArray, IntArray
from bench.stats.jackknife import Factor
from bench.stats.layout import Layout, layout
from bench.stats.stack import Stack, compare
from bench.stats.variance import DIFFERENCES, difference

PLANE_NOISE = "noise realisations"  # the factor
ONE_NOISE = "one noise realisation"  # the mark
_PART = "entrant and realisation"


def plane(
    rows: pl.DataFrame,
    items: pl.DataFrame | None,
    *,
    baseline: str,
    axes: Sequence[str] = ("information_loss",),
    realisation: str | None = None,
    metric: str = "balanced_accuracy",
    level: float = 0.95,
) -> pl.DataFrame:
    """Cells of the plane: paired score difference to the baseline (random initialisation) at the same clean labels.

    Args:
        rows: as in `curves`, one entrant a noise level, and the numeric columns of `axes`, constant within an entrant.
        items, metric, level: as in `curves`.
        baseline: the entrant to subtract.
        axes: columns carried into the plane, e.g. information_loss and the pixel noise rate.
        realisation: column that numbers the realisations of an entrant's noise (ignored for the baseline): they are
            one more factor of the interval. The axes are then constant within a realisation, and the plane has their
            means. A cell with one realisation of a noise that loses anything says so in its mark.

    Returns:
        The columns of `differences`, the axes, n_noise (realisations; 1 without the column), and decided: the interval
        excludes zero, the only cells between which a break-even line may be drawn. Ascending in the axes, then in
        labels.
    """
    for axis in (*axes, *([realisation] if realisation else [])):
        if axis not in rows.columns:
            raise unknown("column of the rows", axis, rows.columns, "axes")
    named = _by_realisation(rows, baseline, realisation)
    parts = named.filter(pl.col("entrant") != baseline).select("entrant", _PART, *axes).unique()
    twice = parts.filter(parts[_PART].is_duplicated())
    if len(twice):
        raise UserError(f"axes: entrant {twice['entrant'][0]!r} has several values of {', '.join(axes)}")
    data = layout(named.with_columns(entrant=pl.col(_PART)).drop(_PART), items, metric=metric)
    data.require(baseline)
    records = []
    for (entrant,), members in parts.sort("entrant", _PART).group_by(["entrant"], maintain_order=True):
        records += _cells(data, str(entrant), members[_PART].to_list(), baseline, level)
    where = parts.group_by("entrant").agg(pl.col(axis).mean() for axis in axes)
    cells = pl.DataFrame(records, schema=DIFFERENCES | {"n_noise": pl.Int64()}).join(where, on="entrant", how="left")
    if realisation:
        single = (pl.col("n_noise") == 1) & (pl.max_horizontal(*axes) > 0)
        marked = pl.concat_str(pl.when(pl.col("mark") != "").then("mark"), pl.lit(ONE_NOISE), separator=", ",
                               ignore_nulls=True)  # fmt: skip
        cells = cells.with_columns(mark=pl.when(single).then(marked).otherwise("mark"))
    decided = ((pl.col("low") > 0) | (pl.col("high") < 0)).fill_null(False)
    return cells.with_columns(decided=decided).sort(*axes, "n_labels", "entrant")


def _by_realisation(rows: pl.DataFrame, baseline: str, realisation: str | None) -> pl.DataFrame:
    """Rows with the column _PART: one entrant for the statistics for each realisation of an entrant's noise."""
    number = pl.lit("") if realisation is None else pl.concat_str(pl.lit("\n"), pl.col(realisation).fill_null(0))
    part = pl.concat_str(pl.col("entrant"), number)
    return rows.with_columns(pl.when(pl.col("entrant") == baseline).then("entrant").otherwise(part).alias(_PART))


def _cells(data: Layout, entrant: str, parts: Sequence[str], baseline: str, level: float) -> list[dict[str, Any]]:
    """The lines of one entrant, at the budgets that all its realisations and the baseline have."""
    parts = [part for part in parts if part in data.scores]
    if not parts:
        return []
    shared = set.intersection(*(set(data.scores[name].budgets) for name in (*parts, baseline)))
    found = []
    for budget in data.scores[parts[0]].budgets:
        stack = compare(data, [*parts, baseline], budgets=[budget]) if budget in shared else None
        if stack is not None:
            joined = _joined(stack, entrant, parts, baseline)
            found.append(difference(data, joined, entrant, baseline, level=level) | {"n_noise": len(parts)})
    return found


def _joined(stack: Stack, entrant: str, parts: Sequence[str], baseline: str) -> Stack:
    """The stack with the mean over the realisations as one entrant, and each realisation left out in turn.

    Pretrainings on different realisations start from different weights, so each realisation's seeds are a factor.
    """
    each = np.stack([stack.curves[part].values for part in parts])  # [realisations, R, 1]
    values, count = each.mean(0), len(parts)
    beside, factors = stack.curves[baseline], stack.factors
    if count > 1:
        left_out = (count * values[:1] - each[:, 0]) / (count - 1)
        factors = (*factors, Factor(PLANE_NOISE, slice(len(values), len(values) + count)))
        values = np.concatenate([values, left_out])
        beside = replace(beside, values=np.concatenate([beside.values, np.tile(beside.values[:1], (count, 1))]))
    curve = replace(stack.curves[parts[0]], values=values)
    return replace(stack, factors=factors, curves={entrant: curve, baseline: beside})


def information_loss(clean: IntArray, noisy: IntArray) -> float:
    """Realised loss 1 - I(Y; Y~) / H(Y) of noisy labels: 0 for a relabelling without loss, 1 for independent labels
    (in the limit).

    Args:
        clean, noisy: labels of the same items or pixels, any shape, flattened.
    """
    _, rows = np.unique(clean.ravel(), return_inverse=True)
    _, columns = np.unique(noisy.ravel(), return_inverse=True)
    joint = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(joint, (rows, columns), 1.0 / rows.size)
    entropy = _entropy(joint.sum(1))
    if entropy == 0:
        raise UserError("clean labels: one class only, no information to lose")
    shared = entropy + _entropy(joint.sum(0)) - _entropy(joint.ravel())
    return float(np.clip(1 - shared / entropy, 0.0, 1.0))


def _entropy(shares: FloatArray) -> float:
    inside = shares[shares > 0]
    return float(-(inside * np.log(inside)).sum())
