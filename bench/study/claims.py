"""Claims: what a study says beforehand that it will find, and a clear word for a claim that names nothing.

A claim compares two sides, or is made of parts (`all`) that must all hold, or says why it cannot be tested here.
What stands on the claim itself holds for every part that does not say otherwise.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.errors import UserError, unknown
from bench.store.metrics import SCORES
from bench.study.methods import METHODS
from bench.study.protocols import PROTOCOLS

DEFAULT_METRIC = "linear.balanced_accuracy@10"
LABELS_SAVED = "labels_saved"
ROW_FIELDS = ("protocol", "layer", "fuse", "partner", "encoder")
FORM = "PROTOCOL.METRIC@LABELS, e.g. linear.balanced_accuracy@10"
_METRIC = re.compile(r"(\w+)\.(\w+?)(?:@(\d+|all))?")
_SHARED = ("better", "worse", "metric", "margin", "quantity", "two_sided")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Comparison(_Model):
    """One part of a claim; what it leaves out is taken from the claim."""

    better: Mapping[str, Any] | None = None
    worse: Mapping[str, Any] | None = None
    metric: str | None = None
    margin: float | None = Field(None, ge=0)
    quantity: Literal["labels_saved"] | None = None
    two_sided: bool | None = None


class Claim(_Model):
    """A statement the study tests: `better` beats `worse` by more than `margin` in `metric`.

    The metric is `PROTOCOL.METRIC@LABELS`; without `@LABELS` the area under the curve is compared, and with
    `PROTOCOL.labels_saved` (or `quantity: labels_saved`) the factor of labels saved, whose margin is a factor.
    """

    name: str
    better: Mapping[str, Any] | None = Field(None, description="a side: METHOD, METHOD.OPTION, protocol, layer, ...")
    worse: Mapping[str, Any] | None = Field(None, description="the other side")
    metric: str = DEFAULT_METRIC
    margin: float = Field(0.0, ge=0, description="a score difference; a factor for labels_saved")
    quantity: Literal["labels_saved"] | None = Field(None, description="compare labels saved, over all budgets")
    two_sided: bool = Field(False, description="the sides differ, in either direction, by more than the margin")
    all: tuple[Comparison, ...] = Field((), description="parts that must all hold")
    for_each: Mapping[str, tuple[Any, ...]] = Field({}, description="it holds at each of these values of a key")
    not_testable: str | None = Field(None, min_length=1, description="why nothing here can test it")

    @model_validator(mode="after")
    def _says_something(self) -> Claim:
        if self.not_testable is not None:
            return self
        empty = [key for key, values in self.for_each.items() if not values]
        if empty:
            raise ValueError(f"claim {self.name!r}: for_each.{empty[0]}: a non-empty list of values is needed")
        for part in comparisons(self.model_dump()):
            for side in ("better", "worse"):
                if not part.get(side):
                    raise ValueError(
                        f"claim {self.name!r}: {side} is missing; a claim names two sides, or not_testable"
                    )
        return self


def comparisons(claim: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of a claim as the study file (or its manifest) has it, each with all it takes from the claim.

    One part for every entry of `all` (one where there is none) at every combination of the values of `for_each`: a key
    `METHOD.OPTION` is added to the sides of that method, any other key to both.
    """
    shared = {key: claim[key] for key in _SHARED if claim.get(key) is not None}
    parts_said = claim.get("all")
    stated = [part for part in parts_said if isinstance(part, Mapping)] if isinstance(parts_said, list | tuple) else []
    parts = [{**shared, **{key: value for key, value in part.items() if value is not None}} for part in stated or [{}]]
    said = claim.get("for_each")
    each = {key: values for key, values in said.items() if values} if isinstance(said, Mapping) else {}
    points = [dict(zip(each, point, strict=True)) for point in itertools.product(*each.values())]
    return [
        {
            **part,
            **{side: _at(part[side], point) for side in ("better", "worse") if isinstance(part.get(side), Mapping)},
        }
        for part in parts
        for point in points
    ]


def method_of(side: Mapping[str, Any]) -> str | None:
    """The method that a side of a claim names; None where it names none."""
    if side.get("method") is not None:
        return str(side["method"])
    return next((name for key in side if (name := str(key).partition(".")[0]) in METHODS), None)


def parse_metric(part: Mapping[str, Any]) -> tuple[str, str, str | None, str]:
    """Protocol, metric, label budget and quantity ("score", "area" or "labels_saved") of a part of a claim.

    Raises:
        UserError: the metric has another form, or labels saved at a budget.
    """
    text = part.get("metric")
    match = _METRIC.fullmatch(str(text or ""))
    if match is None:
        raise UserError(f"metric {text!r} is not understood; valid: {FORM}")
    protocol, metric, budget = match.groups()
    if metric != LABELS_SAVED and part.get("quantity") != LABELS_SAVED:
        return protocol, metric, budget, "score" if budget else "area"
    if budget and metric == LABELS_SAVED:
        raise UserError(f"metric {text!r}: labels saved is taken over all budgets; write {protocol}.{LABELS_SAVED}")
    # A claim that says nothing of its metric has the default, whose budget then is nobody's wish.
    if budget and text != DEFAULT_METRIC:
        raise UserError(f"metric {text!r}: labels saved is taken over all budgets; leave out @{budget}")
    return protocol, "balanced_accuracy" if metric == LABELS_SAVED else metric, None, LABELS_SAVED


def check_claims(claims: Iterable[Claim]) -> None:
    """Checks the names in claims: methods, options, protocols, metrics. Whether there are rows is seen later.

    Raises:
        UserError: names the claim, the key and what is valid.
    """
    for claim in claims:
        for part in comparisons(claim.model_dump()):
            try:
                _check_part(part)
            except UserError as error:
                raise UserError(f"claim {claim.name!r}: {error}") from None


def _at(side: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    """A side of a claim at a point of `for_each`."""
    return {**side} | {
        key: value
        for key, value in point.items()
        if (name := key.partition(".")[0]) not in METHODS or name == method_of(side)
    }


def _check_part(part: Mapping[str, Any]) -> None:
    protocol, metric, _, quantity = parse_metric(part)
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS, "metric")
    if metric not in SCORES:
        raise unknown("metric", metric, [*SCORES, LABELS_SAVED], "metric")
    margin = part.get("margin") or 0
    if quantity == LABELS_SAVED and 0 < margin < 1:
        raise UserError(f"margin {margin:g}: of labels saved it is a factor, at least 1")
    for side in ("better", "worse"):
        if part.get(side):
            _check_side(side, part[side], protocol)


def _check_side(side: str, wanted: Mapping[str, Any], protocol: str) -> None:
    judge = wanted.get("protocol", protocol)
    if judge not in PROTOCOLS:
        raise unknown("protocol", judge, PROTOCOLS, f"{side}.protocol")
    if "method" in wanted and wanted["method"] not in METHODS:
        raise unknown("method", wanted["method"], METHODS, f"{side}.method")
    named = {name for key in wanted if (name := key.partition(".")[0]) in METHODS}
    if len(named | ({wanted["method"]} if "method" in wanted else set())) > 1:
        raise UserError(f"{side}: names several methods ({', '.join(sorted(named))}); a side has one")
    for key, value in wanted.items():
        _check_key(side, key, value, str(judge))


def _check_key(side: str, key: str, value: Any, judge: str) -> None:
    name, dot, option = key.partition(".")
    if key in (*ROW_FIELDS, "method"):
        return
    if not dot and name in METHODS:
        if value:
            raise UserError(f"{side}.{key}: {value!r} is not understood; write {key}.OPTION: VALUE")
    elif dot and name in METHODS:
        if option not in METHODS[name].model_fields:
            raise unknown("option", option, METHODS[name].model_fields, f"{side}.{name}")
    elif dot and name in PROTOCOLS:
        if name != judge:
            raise UserError(f"{side}.{key}: this side is judged by {judge}; write protocol: {name}")
        if option not in _own_options(name):
            raise unknown("option", option, _own_options(name), f"{side}.{name}")
    elif key in _own_options(judge):
        raise UserError(f"{side}.{key}: an option of a protocol is written with its name: {judge}.{key}")
    else:
        raise unknown("key", name, [*METHODS, *PROTOCOLS, *ROW_FIELDS, "method"], side)


def _own_options(protocol: str) -> set[str]:
    """The options by which entrants of a protocol may differ; which cells it scores is told by row fields."""
    return set(PROTOCOLS[protocol].model_fields) - PROTOCOLS[protocol].cell_fields
