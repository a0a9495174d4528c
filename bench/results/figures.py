"""Figures of label efficiency: pure functions from frames to Plotly figures, for pages and for papers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from bench.results.axes import GRID, LEGEND, axis_title, escaped, factor_axis, labels_axis, labels_hover
from bench.results.palette import GREY, Style
from bench.results.text import metric_text, saved_text, score_text

_HOVER = "<b>%{fullData.name}</b><br>%{customdata}<extra></extra>"
_ARROWS = {">=": "triangle-up-open", "<=": "triangle-down-open"}
_LEGEND_PIXELS = 14  # for each entrant: on a narrow page its name has a line of its own
_SHIFT = 0.012  # of a decade, between the intervals of neighbours that would cover each other


def curve_figure(
    curves: pl.DataFrame,
    styles: Mapping[str, Style],
    *,
    metric: str,
    order: Sequence[str],
    target: float | None = None,
) -> go.Figure:
    """Label-efficiency curves: score over the number of labels (log axis), each with its interval as a band.

    Args:
        curves: [entrant, label_budget, n_labels, score, low, high] as `bench.stats.curves.curves` returns it.
        styles: of every entrant in `order`.
        order: the entrants to draw, best first: the order of the legend.
        target: a score to draw as a line.
    """
    figure = go.Figure()
    for rank in reversed(range(len(order))):  # the best is drawn last, on top
        name = order[rank]
        part = curves.filter(pl.col("entrant") == name).sort("n_labels")
        if not part.is_empty():
            figure.add_trace(_band(part, styles[name], name))
            figure.add_trace(_line(part, styles[name], name, rank))
    if target is not None:
        note = {"text": f"target {target:.2f}", "font": {"size": 12}}
        line = {"color": GREY, "width": 1.5, "dash": "dash"}
        figure.add_hline(y=target, line=line, annotation=note, annotation_position="top left")
    figure.update_xaxes(**labels_axis(curves))
    figure.update_yaxes(gridcolor=GRID, zeroline=False, tickformat=".2f")
    figure.add_annotation(axis_title(metric_text(metric)))
    figure.update_layout(height=460 + _LEGEND_PIXELS * len(order), margin=_margin(), hovermode="closest", legend=LEGEND)
    return figure


def saved_figure(saved: pl.DataFrame, styles: Mapping[str, Style], *, order: Sequence[str]) -> go.Figure:
    """Labels saved at each label budget (both axes log); an open triangle is a bound: the other curve ends first.

    Args:
        saved: [entrant, label_budget, n_labels, factor, low, high, censored] as `labels_saved` returns it.
        styles: of every entrant in `order`.
        order: the entrants to draw, best first.
    """
    figure = go.Figure()
    shown = saved.filter(pl.col("entrant").is_in(list(order)), pl.col("factor").is_not_null())
    for rank, name in enumerate(order):
        part = shown.filter(pl.col("entrant") == name).sort("n_labels")
        shift = 10 ** (_SHIFT * (rank - (len(order) - 1) / 2))
        if not part.is_empty():
            figure.add_trace(_saved_line(part.filter(pl.col("censored") == ""), styles[name], name, rank, shift))
            figure.add_trace(_bounds(part.filter(pl.col("censored") != ""), styles[name], name, shift))
    figure.add_hline(y=1, line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_xaxes(**labels_axis(saved))
    ends = shown.select("factor", "low", "high").unpivot()["value"].to_list()
    figure.update_yaxes(zeroline=False, gridcolor=GRID, **factor_axis(ends))
    figure.add_annotation(axis_title("labels saved"))
    figure.update_layout(height=400 + _LEGEND_PIXELS * len(order), margin=_margin(), hovermode="closest", legend=LEGEND)
    return figure


def _margin() -> dict[str, int]:
    return {"l": 8, "r": 8, "t": 30, "b": 8}


def _band(part: pl.DataFrame, style: Style, name: str) -> go.Scatter:
    known = part.filter(pl.col("low").is_not_null(), pl.col("high").is_not_null())
    labels = known["n_labels"].to_list()
    return go.Scatter(
        x=labels + labels[::-1],
        y=known["high"].to_list() + known["low"].to_list()[::-1],
        fill="toself",
        fillcolor=style.fill(0.13),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=escaped(name),
        name=escaped(name),
    )


def _line(part: pl.DataFrame, style: Style, name: str, rank: int) -> go.Scatter:
    rows = part.iter_rows(named=True)
    texts = [
        f"{labels_hover(row)}<br>{score_text(row['score'], row['low'], row['high'], row.get('mark'))}" for row in rows
    ]
    return go.Scatter(
        x=part["n_labels"].to_list(),
        y=part["score"].to_list(),
        mode="lines+markers",
        line={"color": style.colour, "dash": style.dash, "width": 2.25},
        marker={"color": style.colour, "symbol": style.symbol, "size": 8},
        name=escaped(name),
        legendgroup=escaped(name),
        legendrank=rank + 1,
        customdata=texts,
        hovertemplate=_HOVER,
    )


def _saved_line(part: pl.DataFrame, style: Style, name: str, rank: int, shift: float) -> go.Scatter:
    rows = list(part.iter_rows(named=True))
    return go.Scatter(
        x=[row["n_labels"] * shift for row in rows],
        y=[row["factor"] for row in rows],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [_reach(row["high"], row["factor"]) for row in rows],
            "arrayminus": [_reach(row["factor"], row["low"]) for row in rows],
            "width": 0,
            "thickness": 1.25,
            "color": style.fill(0.55),
        },
        mode="lines+markers",
        line={"color": style.colour, "dash": style.dash, "width": 2},
        marker={"color": style.colour, "symbol": style.symbol, "size": 8},
        name=escaped(name),
        legendgroup=escaped(name),
        legendrank=rank + 1,
        customdata=[_saved_hover(row) for row in rows],
        hovertemplate=_HOVER,
    )


def _bounds(part: pl.DataFrame, style: Style, name: str, shift: float) -> go.Scatter:
    rows = list(part.iter_rows(named=True))
    return go.Scatter(
        x=[row["n_labels"] * shift for row in rows],
        y=[row["factor"] for row in rows],
        mode="markers",
        marker={"color": style.colour, "symbol": [_ARROWS[row["censored"]] for row in rows], "size": 11},
        name=escaped(name),
        legendgroup=escaped(name),
        showlegend=False,
        customdata=[_saved_hover(row) for row in rows],
        hovertemplate=_HOVER,
    )


def _saved_hover(row: Mapping[str, Any]) -> str:
    saved = saved_text(row["factor"], row["low"], row["high"], row["censored"], row.get("mark"), times="×")
    return f"{labels_hover(row)}<br>{escaped(saved)}"


def _reach(upper: float | None, lower: float | None) -> float:
    """Length of an error bar; an open end is drawn to beyond the edge of the figure."""
    if upper is None or lower is None or not math.isfinite(lower):
        return 0.0
    return max(min(upper, 1e6) - lower, 0.0)
