"""Axes: the values a scientific axis takes, the distributions a nuisance axis is drawn from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["choice", "uniform", "loguniform", "int"]
KINDS: tuple[Kind, ...] = ("choice", "uniform", "loguniform", "int")


@dataclass(frozen=True)
class Distribution:
    """Where the values of a nuisance axis come from: choices, or a range with both ends included."""

    kind: Kind
    values: tuple[Any, ...]

    def as_json(self) -> dict[str, Any]:
        """`{kind: values}`, as the study file writes it."""
        return {self.kind: list(self.values)}

    def grid(self, points: int) -> tuple[Any, ...]:
        """`points` values, evenly spaced over the range (in the logarithm for loguniform); all of the choices.

        One point is the middle of the range.
        """
        if self.kind == "choice":
            return self.values
        low, high = self.values
        shares = [0.5] if points == 1 else [i / (points - 1) for i in range(points)]
        if self.kind == "loguniform":
            return tuple(float(f"{math.exp(math.log(low) + s * math.log(high / low)):.6g}") for s in shares)
        if self.kind == "uniform":
            return tuple(float(f"{low + s * (high - low):.6g}") for s in shares)
        return tuple(dict.fromkeys(round(low + s * (high - low)) for s in shares))


def parse_distribution(axis: str, value: Any) -> Distribution:
    """Reads `{loguniform: [1e-4, 1e-2]}` and its kin.

    Raises:
        ValueError: names the axis, what was given and what is valid.
    """
    if isinstance(value, Distribution):
        return value
    if not isinstance(value, Mapping) or len(value) != 1 or next(iter(value)) not in KINDS:
        raise ValueError(f"{axis}: one of {{{': [...]}, {'.join(KINDS)}: [...]}} is needed, but got {value!r}")
    kind, values = next(iter(value.items()))
    if not isinstance(values, list | tuple) or not values:
        raise ValueError(f"{axis}.{kind}: a non-empty list is needed, but got {values!r}")
    if kind != "choice":
        _check_range(axis, kind, values)
    return Distribution(kind, tuple(values))


def _check_range(axis: str, kind: Kind, values: list[Any] | tuple[Any, ...]) -> None:
    numbers = int if kind == "int" else (int, float)
    if len(values) != 2 or any(isinstance(v, bool) or not isinstance(v, numbers) for v in values):
        what = "two whole numbers" if kind == "int" else "two numbers"
        raise ValueError(f"{axis}.{kind}: {what} [low, high] are needed, but got {list(values)!r}")
    low, high = values
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (kind == "loguniform" and low <= 0):
        bound = "0 < low < high" if kind == "loguniform" else "low < high"
        raise ValueError(f"{axis}.{kind}: {bound} is needed, but got {list(values)!r}")
