"""What a study varied: the response of the score to one axis, and the mean score over any two fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from bench.errors import UserError
from bench.results.entrants import axes_text
from bench.results.opening import Opened
from bench.stats.layout import layout
from bench.stats.response import optimum, response

BUDGET, LAYER, FUSE, ENCODER = "label budget", "layer", "fuse", "encoder"
NO_LAYER = "none"  # what a fusion's control reads of the encoder
_SETTING = "setting"  # the column that holds the axis as numbers
_IDENTITY = ("axes", "encoder", "protocol", "protocol_options", "fuse", "partner")
_LEAST_FOR_OPTIMUM = 3


@dataclass(frozen=True)
class Field:
    """Something that varies: its name and its values as text, in their natural order."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Axis:
    """A scientific axis of one method; `numbers` holds the values as numbers, or is None where they are none."""

    method: str
    field: Field
    numbers: tuple[float, ...] | None

    @property
    def label(self) -> str:
        """`mae.mask_ratio`, as the study file has it."""
        return f"{self.method}.{self.field.name}"

    def places(self) -> dict[str, float]:
        """Where each value stands on the axis: at its number, or one after the other."""
        return dict(zip(self.field.values, self.numbers or range(len(self.field.values)), strict=True))


@dataclass(frozen=True)
class Line:
    """The response along an axis with everything else fixed.

    Attributes:
        name: what is fixed, e.g. `@enc1 (concat)`.
        table: as `bench.stats.response.response` returns it, and `text`, the value of the axis as text.
        best: as `bench.stats.response.optimum` returns it; None where the axis has no numbers, or too few.
    """

    name: str
    table: pl.DataFrame
    best: dict[str, Any] | None

    @property
    def plausible(self) -> list[str]:
        """The values that may be the best, best first."""
        return self.table.filter("plausible").sort("score", descending=True)["text"].to_list()


def axes_of(rows: pl.DataFrame) -> list[Axis]:
    """The scientific axes of finished rows that took at least two values, in the order of methods and names."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    settings = rows.filter(pl.col("status") == "ok").select("method", "axes").unique().sort("method", "axes")
    for method, axes in settings.iter_rows():
        for name, value in _settings(axes).items():
            found.setdefault((method, name), {})[value_text(value)] = value
    return [_axis(method, name, values) for (method, name), values in sorted(found.items()) if len(values) > 1]


def lines(
    opened: Opened, axis: Axis, *, metric: str, protocol: str, budget: str | None = None, level: float = 0.95
) -> list[Line]:
    """The responses of a method's score to one of its axes under one protocol, one for each way to fix the rest.

    Args:
        budget: a label budget; None takes the area under the curve over the budgets that all settings have.

    Returns:
        The lines that have at least two settings with common cells, the one with the best score first.
    """
    rows = opened.scored(metric).filter(pl.col("method") == axis.method, pl.col("protocol") == protocol)
    name, settings = axis.field.name, {axes: _settings(axes) for axes in rows["axes"].unique()}
    rest = {key: {k: v for k, v in setting.items() if k != name} for key, setting in settings.items()}
    words = {key: axes_text(json.dumps(other)) for key, other in rest.items()}
    rows = _with_line(rows, axis, [words[axes] for axes in rows["axes"]])
    places, texts = axis.places(), _texts(rows["axes"], settings, name).alias("text")
    rows = rows.with_columns(texts).drop_nulls("text")
    rows = rows.with_columns(
        pl.col("text").replace_strict(places, default=None, return_dtype=pl.Float64).alias(_SETTING)
    )
    found = [
        _line(opened, axis, str(name), part, metric, budget, level)
        for (name,), part in rows.group_by(["line"], maintain_order=True)
    ]
    return sorted((line for line in found if line), key=lambda line: -float(line.table["score"].max()))  # type: ignore[arg-type]


def fields_of(rows: pl.DataFrame) -> list[Field]:
    """What varies among these rows of one method and protocol: axes, label budget, layer, fusion, encoder."""
    table = _fielded(rows)
    sizes = rows.group_by("label_budget").agg(pl.col("n_labels").mean()).sort("n_labels", "label_budget")
    found = []
    for name in table.columns:
        values = table[name].drop_nulls().unique().to_list()
        ordered = sizes["label_budget"].to_list() if name == BUDGET else _sorted(values)
        if len(values) > 1:
            found.append(Field(name, tuple(ordered)))
    return found


def heat(rows: pl.DataFrame, x: Field, y: Field, metric: str) -> tuple[pl.DataFrame, list[str], bool]:
    """Mean score at each pair of values of two fields.

    Args:
        rows: finished rows of one method and protocol.
        x, y: two different fields of `fields_of(rows)`.
        metric: a score column.

    Returns:
        Frame [x, y, score, rows]; the names of the other fields that vary and are averaged over; whether every cell
        averages over the same values of those (where that can be had, others are left out to have it).
    """
    table = _fielded(rows).with_columns(rows[metric].alias("score"))
    table = table.drop_nulls([x.name, y.name, "score"])
    others = [field.name for field in fields_of(rows) if field.name not in (x.name, y.name)]
    inside = table.group_by(x.name, y.name).agg(pl.col(others).n_unique())
    others = [name for name in others if (inside[name] > 1).any()]  # the rest is fixed by the two fields
    even = True
    if others:
        table = table.with_columns(
            pl.concat_str([pl.col(o).fill_null("-") for o in others], separator="\n").alias("rest")
        )
        cells = table.select(x.name, y.name).unique().height
        spread = table.group_by("rest").agg(pl.struct(x.name, y.name).n_unique().alias("cells"))
        common = spread.filter(pl.col("cells") == cells)["rest"]
        even = len(common) > 0
        if even:
            table = table.filter(pl.col("rest").is_in(common.implode()))
            others = [name for name in others if table[name].n_unique() > 1]
        table = table.group_by(x.name, y.name, "rest").agg(pl.col("score").mean(), pl.len().alias("rows"))
        mean = table.group_by(x.name, y.name).agg(pl.col("score").mean(), pl.col("rows").sum())
    else:
        mean = table.group_by(x.name, y.name).agg(pl.col("score").mean(), pl.len().alias("rows"))
    return mean.rename({x.name: "x", y.name: "y"}).sort("x", "y"), others, even


def value_text(value: Any) -> str:
    """A value of an axis as people write it: `0.75`, `true`, `vit_nano`."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _axis(method: str, name: str, values: dict[str, Any]) -> Axis:
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values.values())
    ordered = sorted(values, key=lambda text: values[text]) if numeric else sorted(values)
    numbers = tuple(float(values[text]) for text in ordered) if numeric else None
    return Axis(method, Field(name, tuple(ordered)), numbers)


def _with_line(rows: pl.DataFrame, axis: Axis, rest: Sequence[str]) -> pl.DataFrame:
    """Adds the column `line`: what is fixed beside the axis. The encoder's layer counts only where one has several."""
    several = rows.group_by(_IDENTITY).agg(pl.col("layer").n_unique())["layer"].max()
    told = {name: rows[name].n_unique() > 1 for name in ("encoder", "protocol_options", "partner")}
    names = []
    for other, row in zip(rest, rows.iter_rows(named=True), strict=True):
        parts = [other] if other else []
        if told["encoder"] and axis.field.name != ENCODER and "encoder=" not in other:
            parts.append(row["encoder"])
        if isinstance(several, int) and several > 1 and row["layer"] != NO_LAYER:
            parts.append(f"@{row['layer']}")
        if row["fuse"]:
            parts.append(
                f"({row['fuse']} {row['partner']})" if told["partner"] and row["partner"] else f"({row['fuse']})"
            )
        if told["protocol_options"]:
            parts.append(axes_text(row["protocol_options"]))
        names.append(" ".join(parts) or row["protocol"])
    return rows.with_columns(pl.Series("line", names, dtype=pl.String))


def _line(
    opened: Opened, axis: Axis, name: str, rows: pl.DataFrame, metric: str, budget: str | None, level: float
) -> Line | None:
    if rows["entrant"].n_unique() < 2:
        return None
    asked: dict[str, Any] = {"axis": _SETTING, "label_budget": budget, "metric": metric, "level": level}
    try:
        asked["arranged"] = layout(rows, opened.test_items, metric=metric)
        table = response(rows, opened.test_items, **asked)
    except UserError:  # no cell is common to the settings (yet)
        return None
    places = {place: text for text, place in axis.places().items()}
    table = table.with_columns(pl.Series("text", [places[value] for value in table["value"]], dtype=pl.String))
    best = None
    if axis.numbers and table["value"].n_unique() >= _LEAST_FOR_OPTIMUM:
        best = optimum(rows, opened.test_items, **asked).row(0, named=True)
    return Line(name, table, best)


def _fielded(rows: pl.DataFrame) -> pl.DataFrame:
    """One text column for each field, one row for each row."""
    settings = {axes: _settings(axes) for axes in rows["axes"].unique()}
    names = sorted({name for setting in settings.values() for name in setting})
    columns = {name: _texts(rows["axes"], settings, name) for name in names}
    fixed = {BUDGET: rows["label_budget"], LAYER: rows["layer"], FUSE: rows["fuse"]}
    if ENCODER not in columns:
        fixed[ENCODER] = rows["encoder"]
    return pl.DataFrame(columns | fixed, schema=dict.fromkeys((*columns, *fixed), pl.String))


def _texts(axes: pl.Series, settings: Mapping[str | None, Mapping[str, Any]], name: str) -> pl.Series:
    """The value that each row has of an axis, as text; null where it has none."""
    texts = {key: value_text(setting[name]) if name in setting else None for key, setting in settings.items()}
    return axes.replace_strict(list(texts), list(texts.values()), return_dtype=pl.String)


def _sorted(values: list[str]) -> list[str]:
    try:
        return sorted(values, key=float)
    except ValueError:
        return sorted(values)


def _settings(axes: str | None) -> dict[str, Any]:
    value = json.loads(axes) if axes else {}
    return value if isinstance(value, dict) else {}
