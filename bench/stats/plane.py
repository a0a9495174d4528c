"""Noise planes: score gained over a baseline with the same clean labels, by budget and by information lost to noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from bench.errors import UserError, unknown
from bench.stats.arrays import FloatArray, IntArray
from bench.stats.variance import differences


def plane(
    rows: pl.DataFrame,
    items: pl.DataFrame | None,
    *,
    baseline: str,
    axes: Sequence[str] = ("information_loss",),
    metric: str = "balanced_accuracy",
    level: float = 0.95,
) -> pl.DataFrame:
    """Cells of the plane: paired score difference to the baseline (random initialisation) at the same clean labels.

    Args:
        rows: as in `curves`, one entrant a noise level, and the numeric columns of `axes`, constant within an entrant.
        items, metric, level: as in `curves`.
        baseline: the entrant to subtract.
        axes: columns carried into the plane, e.g. information_loss and the pixel noise rate.

    Returns:
        The columns of `differences`, the axes, and decided: the interval excludes zero, the only cells between which a
        break-even line may be drawn. Ascending in the axes, then in labels.
    """
    for axis in axes:
        if axis not in rows.columns:
            raise unknown("column of the rows", axis, rows.columns, "axes")
    where = rows.select("entrant", *axes).unique()
    twice = where.filter(where["entrant"].is_duplicated() & (where["entrant"] != baseline))
    if len(twice):
        raise UserError(f"axes: entrant {twice['entrant'][0]!r} has several values of {', '.join(axes)}")
    cells = differences(rows, items, reference=baseline, metric=metric, level=level)
    decided = ((pl.col("low") > 0) | (pl.col("high") < 0)).fill_null(False)
    return cells.join(where, on="entrant", how="left").with_columns(decided=decided).sort(*axes, "n_labels", "entrant")


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
