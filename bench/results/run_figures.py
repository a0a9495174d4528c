"""Figures of pretrainings and of what they cost: loss curves, probe curves, total cost with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from bench.results.axes import GRID, LEGEND, axis_title, escaped
from bench.results.money import cost_text
from bench.results.palette import Style, styles

_HOVER = "<b>%{fullData.name}</b><br>%{customdata}<extra></extra>"
_LEGEND_PIXELS = 20
_MARGIN = {"l": 8, "r": 8, "t": 30, "b": 8}
_ROW_PIXELS = 56
_DENSE = 12  # points of a line that needs no marks
_WIDE = 3.0  # costs that differ by a larger factor are drawn on a log axis
_MANY = 100.0  # beyond, powers of ten are ticks enough
_STEEP = 4.0  # values that differ by a larger factor are drawn on a log axis


def loss_figure(pretrainings: pl.DataFrame) -> go.Figure:
    """Mean loss of each epoch of one method's pretrainings; one colour a setting, one line a seed."""
    lines = [
        (row["setting"] or row["method"], f"seed {row['seed']}", list(range(1, len(row["losses"]) + 1)), row["losses"])
        for row in pretrainings.drop_nulls("losses").iter_rows(named=True)
    ]
    return _curves(lines, "loss")


def probe_figure(trials: pl.DataFrame) -> go.Figure:
    """The objective of one method's trials at each rung, over epochs; one colour a setting, one line a trial."""
    lines = []
    for row in trials.iter_rows(named=True):
        points = [point for point in row["curve"] or [] if point["value"] is not None]
        epochs, values = [point["epoch"] for point in points], [point["value"] for point in points]
        lines.append((row["setting"] or row["method"], f"{row['parameters']}, {row['state']}", epochs, values))
    return _curves(lines, "objective")


def cost_figure(table: pl.DataFrame, looks: Mapping[str, Style]) -> go.Figure:
    """Total cost of each entrant with its interval (log axis where costs span much), the cheapest on top.

    Args:
        table: rows of `bench.results.returns.returns` that reach the target.
        looks: of every entrant in the table.
    """
    figure = go.Figure()
    shown = table.filter(pl.col("cost") > 0)
    costs = shown["cost"].to_list()
    ends = [end for end in shown.select("cost_low", "cost_high").unpivot()["value"] if end and math.isfinite(end)]
    low, high = min([*costs, *ends]) / 1.15, max([*costs, *ends]) * 1.15
    for place, row in enumerate(shown.iter_rows(named=True)):
        _add_cost(figure, row, -place, looks[row["entrant"]], (low, high))
    figure.update_yaxes(visible=False, range=[-len(costs) + 0.42, 0.6], fixedrange=True)
    span = _log_axis(low, high) if high / low > _WIDE else {}
    figure.update_xaxes(title="total cost", gridcolor=GRID, zeroline=False, fixedrange=True, **span)
    margin = {"l": 4, "r": 4, "t": 4, "b": 8}
    figure.update_layout(height=64 + _ROW_PIXELS * len(costs), margin=margin, showlegend=False)
    return figure


def _add_cost(
    figure: go.Figure, row: Mapping[str, Any], height: float, style: Style, shown: tuple[float, float]
) -> None:
    """One entrant: name above, interval, point, amount below; an open end runs to the edge of what is shown."""
    text = cost_text(row["cost"], row["cost_low"], row["cost_high"], row["censored"])
    if row["cost_low"] is not None and row["cost_high"] is not None:
        bar = [max(row["cost_low"], shown[0]), min(row["cost_high"], shown[1])]
        line = {"color": style.fill(0.5), "width": 4}
        figure.add_trace(go.Scatter(x=bar, y=[height, height], mode="lines", line=line, hoverinfo="skip"))
    point = go.Scatter(
        x=[row["cost"]],
        y=[height],
        mode="markers",
        marker={"color": style.colour, "size": 11, "symbol": style.symbol.removesuffix("-open")},
        name=escaped(row["entrant"]),
        customdata=[escaped(text)],
        hovertemplate=_HOVER,
    )
    figure.add_trace(point)
    name = f"<b>{escaped(row['entrant'])}</b>{' (reference)' if row['is_reference'] else ''}"
    figure.add_annotation(_label(height, name, left=True))
    figure.add_annotation(_label(height, escaped(text), left=False))


def _log_axis(low: float, high: float) -> dict[str, Any]:
    """A logarithmic axis between these values, its ticks 1, 2 and 5 times powers of ten, or the powers alone."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < _MANY else (1,)
    ticks = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
    text = [f"{tick:,.10g}" for tick in ticks]
    return {"type": "log", "range": [math.log10(low), math.log10(high)], "tickvals": ticks, "ticktext": text}


def _curves(lines: Sequence[tuple[str, str, Sequence[float], Sequence[float | None]]], title: str) -> go.Figure:
    """Lines over epochs: (group, what tells it within its group, epochs, values); a colour a group."""
    groups = list(dict.fromkeys(group for group, *_ in lines))
    looks = styles(groups)
    figure = go.Figure()
    told: set[str] = set()
    for group, name, epochs, values in lines:
        figure.add_trace(
            go.Scatter(
                x=epochs,
                y=values,
                mode="lines" if len(epochs) > _DENSE else "lines+markers",
                line={"color": looks[group].colour, "dash": looks[group].dash, "width": 1.75},
                name=escaped(group),
                legendgroup=escaped(group),
                showlegend=group not in told,
                customdata=[f"{escaped(name)}, epoch {epoch:g}" for epoch in epochs],
                hovertemplate="<b>%{fullData.name}</b><br>%{customdata}: %{y:.4g}<extra></extra>",
            )
        )
        told.add(group)
    figure.update_xaxes(showgrid=False, zeroline=False, title="epoch")
    known = [value for *_, values in lines for value in values if value is not None]
    steep = bool(known) and min(known) > 0 and max(known) > _STEEP * min(known)
    figure.update_yaxes(
        gridcolor=GRID, zeroline=False, **(_log_axis(min(known) / 1.1, max(known) * 1.1) if steep else {})
    )
    figure.add_annotation(axis_title(f"{title}, log scale" if steep else title))
    several = len(groups) > 1
    height = 380 + _LEGEND_PIXELS * len(groups) * several
    legend = LEGEND | {"y": -0.2}
    figure.update_layout(height=height, margin=_MARGIN, hovermode="closest", legend=legend, showlegend=several)
    return figure


def _label(height: float, text: str, *, left: bool) -> dict[str, object]:
    side = "left" if left else "right"
    above = {"yanchor": "bottom", "yshift": 8} if left else {"yanchor": "top", "yshift": -7}
    place = {"xref": "paper", "yref": "y", "x": 0 if left else 1, "y": height, "xanchor": side}
    return {**place, **above, "text": text, "showarrow": False, "align": side, "borderpad": 0, "font": {"size": 13}}
