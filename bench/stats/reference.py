"""An entrant beside its reference on the scale of the factors: probit, non-decreasing in log2 labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.errors import UserError
from bench.stats.arrays import FloatArray, probit
from bench.stats.layout import Layout
from bench.stats.monotone import isotonic, value_at
from bench.stats.stack import Curve, IntervalForm, Stack, compare


@dataclass(frozen=True)
class Pair:
    """Leave-one-out curves of an entrant [R, B] and of its reference [R, B'] over log2 labels, both non-decreasing.

    `reference_names`: which reference was the best, at each of the reference's budgets.
    """

    stack: Stack
    name: str
    entrant: FloatArray
    entrant_knots: FloatArray
    reference: FloatArray
    reference_knots: FloatArray
    reference_names: tuple[str, ...]

    @property
    def curves(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """The arguments of a factor: the entrant's curves and knots, the reference's curves and knots."""
        return self.entrant, self.entrant_knots, self.reference, self.reference_knots

    @property
    def with_itself(self) -> bool:
        """Whether the entrant is the reference, at every budget."""
        return set(self.reference_names) == {self.name}


def pair(layout: Layout, entrant: str, references: Sequence[str], form: IntervalForm) -> Pair | None:
    """The entrant beside the better, at each budget, of the references; None when they share no complete seed x draw.

    At each budget any reference was measured at, the reference is the one with the best mean score on all data
    (interpolated where it was not measured itself, absent outside its range). That choice is kept in every
    leave-one-out: the interval is that of the chosen reference, which does not shrink when several are nearly equal,
    as that of a recomputed maximum would.
    """
    stack = compare(layout, [entrant, *references], form=form)
    if stack is None:
        return None
    knots, values = _scaled(layout, stack.curves[entrant])
    reference_knots, envelope, chosen = _envelope(layout, stack, references)
    return Pair(stack, entrant, isotonic(values), knots, isotonic(envelope), reference_knots, tuple(chosen))


def scaled(layout: Layout, scores: FloatArray) -> FloatArray:
    """Scores on the scale of the factors: probit of a share, else the metric, turned so that higher is better."""
    return probit(scores) if layout.bounded and layout.sign > 0 else layout.sign * scores


def check_references(layout: Layout, references: Sequence[str]) -> None:
    """Raise UserError when there is no reference, or one that has no rows."""
    if not references or isinstance(references, str):
        raise UserError(f"reference: expected a list of entrants, got {references!r}")
    layout.require(*references)


def _scaled(layout: Layout, curve: Curve) -> tuple[FloatArray, FloatArray]:
    """Knots [B] and scaled values [R, B] of a curve; of budgets with equal labels the last is kept."""
    keep = np.append(np.diff(curve.labels) > 0, True)
    return np.log2(curve.labels[keep]), scaled(layout, curve.values[:, keep])


def _envelope(layout: Layout, stack: Stack, references: Sequence[str]) -> tuple[FloatArray, FloatArray, list[str]]:
    """Knots [B], values [R, B] and name at each knot of the best reference."""
    names = sorted(set(references))
    parts = [_scaled(layout, stack.curves[name]) for name in names]
    knots = np.unique(np.concatenate([own for own, _ in parts]))
    values = np.stack([_inside(own, v, knots) for own, v in parts])  # [references, R, B]
    best = np.where(np.isnan(values[:, 0]), -np.inf, values[:, 0]).argmax(0)
    return knots, values[best, :, np.arange(len(knots))].T, [names[i] for i in best]


def _inside(own: FloatArray, values: FloatArray, knots: FloatArray) -> FloatArray:
    """A curve at the given knots, NaN outside its own range."""
    at = value_at(values, own, np.broadcast_to(knots, (len(values), len(knots))))
    return np.where((knots >= own[0]) & (knots <= own[-1]), at, np.nan)
