"""Verdicts on a study's claims: margin, direction, Holm over the claims, and what would decide the undecided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from bench.errors import UserError, unknown
from bench.stats.arrays import FloatArray
from bench.stats.curves import known, log_area
from bench.stats.factors import factor_overall
from bench.stats.jackknife import Estimate, jackknife
from bench.stats.layout import Layout, layout
from bench.stats.multiplicity import holm, holm_levels
from bench.stats.reference import pair
from bench.stats.replicates import needed
from bench.stats.stack import Stack, compare

Quantity = Literal["score", "area", "labels_saved"]
SUPPORTED, REFUTED, UNDECIDED, NOT_TESTABLE = "supported", "refuted", "undecided", "not testable here"
VERDICTS = {
    "claim": pl.String(),
    "verdict": pl.String(),
    "part": pl.Int64(),
    "part_verdict": pl.String(),
    "better": pl.String(),
    "worse": pl.String(),
    "quantity": pl.String(),
    "label_budget": pl.String(),
    "margin": pl.Float64(),
    "effect": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p": pl.Float64(),
    "p_holm": pl.Float64(),
    "seeds_to_decide": pl.Int64(),
    "draws_to_decide": pl.Int64(),
    "reason": pl.String(),
    "mark": pl.String(),
}


@dataclass(frozen=True)
class Part:
    """One comparison that a claim makes: `better` beats `worse` by more than the margin.

    two_sided: the two differ by more than the margin, whichever is better; the other side of that is a difference
    smaller than the margin.

    quantity: "score" (mean score at `label_budget`), "area" (under the curve over log labels), "labels_saved" (overall
    factor). margin: a score difference, at least 0; for "labels_saved" a factor, at least 1. None is no margin: 0, or
    a factor of 1.
    """

    better: str
    worse: str
    quantity: Quantity = "score"
    label_budget: str | None = None
    metric: str = "balanced_accuracy"
    margin: float | None = None
    two_sided: bool = False

    def __post_init__(self) -> None:
        if self.quantity not in ("score", "area", "labels_saved"):
            raise unknown("quantity", self.quantity, ("score", "area", "labels_saved"), "claims")
        if (self.quantity == "score") != (self.label_budget is not None):
            raise UserError(
                f"claims: quantity {self.quantity!r} with label_budget {self.label_budget!r}; only a score has one"
            )
        if self.null < 0:
            least = 1 if self.quantity == "labels_saved" else 0
            raise UserError(f"claims: margin {self.margin!r} of {self.quantity}: must be at least {least}")

    @property
    def null(self) -> float:
        """The margin on the scale that is tested: log2 of a factor, or the difference itself."""
        if self.margin is None:
            return 0.0
        if self.quantity == "labels_saved":
            return float(np.log2(self.margin)) if self.margin > 0 else -np.inf
        return self.margin

    def shown(self, value: float) -> float:
        """A value on the scale of the test as it is shown: a factor, or the difference itself."""
        return 2.0**value if self.quantity == "labels_saved" else value


@dataclass(frozen=True)
class Claim:
    """A named claim; with several parts it holds only where all of them do."""

    name: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class _Tested:
    part: Part
    estimate: Estimate | None
    stack: Stack | None
    reason: str | None

    @property
    def p(self) -> tuple[float, float]:
        """Two-sided p-values of the claimed side of the margin and of the other; 1 where the estimate is not there."""
        if self.estimate is None:
            return 1.0, 1.0
        value, null = float(self.estimate.value), self.part.null
        above = float(self.estimate.p_value(null)) if value > null else 1.0
        below = float(self.estimate.p_value(-null)) if value < -null else 1.0
        if not self.part.two_sided:
            return above, below
        inside = max(float(self.estimate.p_value(null)), float(self.estimate.p_value(-null)))
        return min(above, below), inside if abs(value) < null else 1.0


def verdicts(
    rows: pl.DataFrame, items: pl.DataFrame | None, claims: Sequence[Claim], *, level: float = 0.95
) -> pl.DataFrame:
    """Verdict on each claim, Holm over the claims that can be tested.

    A part is supported when its interval lies above the margin, refuted when it lies below minus the margin, undecided
    otherwise; a two-sided part is supported when its interval lies beyond the margin on either side, refuted when it
    lies within. A claim is supported when all parts are, refuted when one part is (Bonferroni over its parts), not
    testable where a part is not.

    Args:
        rows, items: as in `curves`.
        claims: the claims, their margins set beforehand.
        level: confidence level of the family.

    Returns:
        One row a part: claim, verdict (of the claim), part (0..), part_verdict, better, worse, quantity, label_budget,
        margin, effect (score difference, or factor), low, high (at Holm's level), p, p_holm (of the claim),
        seeds_to_decide, draws_to_decide (of an undecided part, were the effect what it is now), reason (why not
        testable, or undecided although small), mark.
    """
    if len({claim.name for claim in claims}) < len(claims):
        raise UserError("claims: two claims have one name")
    layouts = {m: layout(rows, items, metric=m) for m in {part.metric for claim in claims for part in claim.parts}}
    tested = {claim.name: [_tested(layouts, part) for part in claim.parts] for claim in claims}
    testable = {name: parts for name, parts in tested.items() if all(part.estimate for part in parts)}
    p = np.array([min(_sides(parts)) for parts in testable.values()])
    family = dict(zip(testable, zip(p, holm(p), holm_levels(p, 1 - level), strict=True), strict=True))
    records = []
    for name, parts in tested.items():
        own_p, adjusted, alpha = map(float, family.get(name, (np.nan, np.nan, 1 - level)))
        head = {"claim": name, "verdict": _verdict(parts, alpha), "p": known(own_p), "p_holm": known(adjusted)}
        records += [head | {"part": at} | _row(part, alpha) for at, part in enumerate(parts)]
    return pl.DataFrame(records, schema=VERDICTS)


def _verdict(parts: Sequence[_Tested], alpha: float) -> str:
    """Verdict of a claim from its parts, at its level of Holm."""
    if not all(part.estimate for part in parts):
        return NOT_TESTABLE
    support, refute = _sides(parts)
    return SUPPORTED if support <= alpha else REFUTED if refute <= alpha else UNDECIDED


def _sides(parts: Sequence[_Tested]) -> tuple[float, float]:
    """p-values of a claim: supported (the largest of its parts), refuted (the smallest, Bonferroni)."""
    support, refute = zip(*(part.p for part in parts), strict=True)
    return max(support), min(1.0, len(parts) * min(refute))


def _tested(layouts: Mapping[str, Layout], part: Part) -> _Tested:
    """The estimate of a part, or the reason why it cannot be tested."""
    data = layouts[part.metric]
    missing = [name for name in (part.better, part.worse) if name not in data.scores]
    if missing:
        return _Tested(part, None, None, f"no rows of {', '.join(missing)}")
    if part.better == part.worse:
        return _Tested(part, None, None, "better and worse are one entrant")
    stacked = _values(data, part)
    if stacked is None:
        return _Tested(part, None, None, "no cell is common to both entrants")
    values, stack = stacked
    if not np.isfinite(values).all():
        return _Tested(part, None, stack, "the curves share no range of scores")
    if 1 in stack.n_seeds.values() or not stack.factors:
        return _Tested(part, None, stack, "needs two seeds of each entrant that has seeds")
    return _Tested(part, jackknife(values, stack.factors), stack, None)


def _values(data: Layout, part: Part) -> tuple[FloatArray, Stack] | None:
    """Leave-one-out values [R] of the quantity, better minus worse."""
    if part.quantity == "labels_saved":
        compared = pair(data, part.better, [part.worse], "jackknife")
        if compared is None:
            return None
        return factor_overall(*compared.curves), compared.stack
    shared = set(data.scores[part.better].budgets) & set(data.scores[part.worse].budgets)
    if part.label_budget is not None:
        shared &= {part.label_budget}
    stack = compare(data, [part.better, part.worse], budgets=sorted(shared)) if shared else None
    if stack is None:
        return None
    better, worse = (stack.curves[name] for name in (part.better, part.worse))
    return data.sign * (log_area(better.values, better.labels) - log_area(worse.values, worse.labels)), stack


def _row(tested: _Tested, alpha: float) -> dict[str, Any]:
    """The columns of one part, its interval at the level of Holm."""
    part = tested.part
    own = _verdict([tested], alpha)
    record: dict[str, Any] = {"part_verdict": own, "better": part.better, "worse": part.worse}
    record |= {"quantity": part.quantity, "label_budget": part.label_budget, "reason": tested.reason}
    record["margin"] = part.shown(part.null)
    if tested.estimate is None or tested.stack is None:
        return record
    low, high = (float(end) for end in tested.estimate.interval(1 - alpha))
    effect = float(tested.estimate.value)
    record |= {
        "effect": part.shown(effect),
        "low": part.shown(low),
        "high": part.shown(high),
        "mark": tested.stack.mark,
    }
    if own != UNDECIDED:
        return record
    if -part.null < low and high < part.null:
        return record | {"reason": "smaller than the margin, either way"}
    return record | _to_decide(tested.estimate, tested.stack, part.null, alpha)


def _to_decide(estimate: Estimate, stack: Stack, null: float, alpha: float) -> dict[str, Any]:
    """Replicates at which the interval, centred where it is, would clear a side of the margin, or lie inside it."""
    distance = abs(abs(float(estimate.value)) - null)
    n_seeds = min((n for n in stack.n_seeds.values() if n), default=0)
    more = needed(estimate, distance, n_seeds=n_seeds, n_draws=stack.n_draws, level=1 - alpha)
    return {"seeds_to_decide": more.seeds, "draws_to_decide": more.draws}
