"""Figures of a sweep: response curves, a heat map of any two fields, trials as parallel coordinates."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from bench.results.axes import GRID, LEGEND, axis_title, escaped
from bench.results.palette import COLOURS, GREY, Style, styles
from bench.results.sweep import Axis, Field, Line, value_text
from bench.results.text import metric_text, score_text
from bench.results.trials import REACHED

_HOVER = "<b>%{fullData.name}</b><br>%{customdata}<extra></extra>"
_LEGEND_PIXELS = 20
_MARGIN = {"l": 8, "r": 8, "t": 30, "b": 8}
_SHIFT = 0.012  # of the axis, between the intervals of neighbours
_DASHES = {"complete": "solid", "pruned": "dot", "diverged": "dash", "failed": "dash"}
_SPAN = 6.0  # a parameter whose largest value is more than so many times its least is drawn on a log axis


def response_figure(lines: Sequence[Line], axis: Axis, *, metric: str) -> go.Figure:
    """Score over an axis with intervals; a filled mark may be the best setting of its line, an open one is worse."""
    looks = styles([line.name for line in lines])
    places = axis.places()
    width = max(places.values()) - min(places.values()) or 1.0
    figure = go.Figure()
    for rank, line in enumerate(lines):
        shift = width * _SHIFT * (rank - (len(lines) - 1) / 2)
        figure.add_trace(_response(line, looks[line.name], shift))
    figure.update_xaxes(
        tickvals=list(places.values()),
        ticktext=[escaped(text) for text in places],
        title=escaped(axis.field.name),
        showgrid=False,
        zeroline=False,
        range=[min(places.values()) - 0.08 * width, max(places.values()) + 0.08 * width],
    )
    figure.update_yaxes(gridcolor=GRID, zeroline=False, tickformat=".2f")
    figure.add_annotation(axis_title(metric_text(metric)))
    several = len(lines) > 1
    height = 400 + _LEGEND_PIXELS * len(lines) * several
    legend = LEGEND | {"y": -0.2}
    figure.update_layout(height=height, margin=_MARGIN, hovermode="closest", legend=legend, showlegend=several)
    return figure


def heat_figure(cells: pl.DataFrame, x: Field, y: Field, *, metric: str) -> go.Figure:
    """Mean scores [x, y, score] as a grid of numbered cells; where nothing was measured the page shows through."""
    known = {(row["x"], row["y"]): row["score"] for row in cells.iter_rows(named=True)}
    scores = [[known.get((across, down)) for across in x.values] for down in y.values]
    figure = go.Figure(
        go.Heatmap(
            z=scores,
            x=[escaped(value) for value in x.values],
            y=[escaped(value) for value in y.values],
            colorscale=[[0.0, "#E8F0F7"], [0.5, "#7FB0D6"], [1.0, "#0B4F86"]],
            xgap=2,
            ygap=2,
            texttemplate="%{z:.3f}",
            textfont={"size": 13},
            showscale=False,
            hoverongaps=False,
            hovertemplate=f"{escaped(x.name)} %{{x}}<br>{escaped(y.name)} %{{y}}<br>"
            f"{escaped(metric_text(metric))} %{{z:.4f}}<extra></extra>",
        )
    )
    figure.update_xaxes(type="category", title=escaped(x.name), showgrid=False, tickangle=0)
    figure.update_yaxes(type="category", showgrid=False, automargin=True)
    figure.add_annotation(axis_title(escaped(y.name)))
    figure.update_layout(height=130 + 46 * len(y.values), margin=_MARGIN)
    return figure


def trials_figure(trials: pl.DataFrame, names: Sequence[str]) -> go.Figure:
    """Trials as parallel coordinates: a line a trial, its parameters left, the objective on the right.

    The best of each search is coloured; a dotted line was pruned, a dashed one diverged or failed.

    Args:
        trials: as `bench.results.trials.trials_of` returns it.
        names: the settings and parameters to draw, left to right.
    """
    values = [json.loads(text) for text in trials["values"]]
    scales = [_Scale(name, [value.get(name) for value in values]) for name in names]
    scales.append(_Scale("objective", trials[REACHED].to_list()))
    figure = go.Figure()
    rows = list(trials.iter_rows(named=True))
    for row, value in sorted(zip(rows, values, strict=True), key=lambda pair: bool(pair[0]["best"])):
        figure.add_trace(_trial(row, [*(value.get(name) for name in names), row[REACHED]], scales))
    for dash, name in _legend(trials):
        line = {"color": COLOURS[0] if name == "best of its search" else GREY, "dash": dash, "width": 2}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="lines", line=line, name=name))
    for place, scale in enumerate(scales):
        figure.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, line={"color": GREY, "width": 1})
        for text, height in scale.ticks():
            figure.add_annotation(_tick(place, height, text))
    titles = [escaped(scale.name) for scale in scales]
    figure.update_xaxes(tickvals=list(range(len(scales))), ticktext=titles, showgrid=False, zeroline=False, side="top")
    figure.update_xaxes(range=[-0.2, len(scales) - 0.8], fixedrange=True)
    figure.update_yaxes(visible=False, range=[-0.12, 1.12], fixedrange=True)
    figure.update_layout(height=400, margin=_MARGIN | {"t": 36}, hovermode="closest", legend=LEGEND | {"y": -0.02})
    return figure


class _Scale:
    """One upright axis: where a value stands between 0 and 1."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        self.name = name
        known = [value for value in values if value is not None]
        self._numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
        self._texts = sorted({value_text(value) for value in known})
        numbers = [float(value) for value in known if self._numeric and math.isfinite(value)]
        self._low, self._high = min(numbers, default=0.0), max(numbers, default=1.0)
        self._log = self._numeric and self._low > 0 and self._high / self._low > _SPAN

    def at(self, value: Any) -> float | None:
        """The place of a value; None where it has none."""
        if value is None:
            return None
        if not self._numeric:
            return self._texts.index(value_text(value)) / max(len(self._texts) - 1, 1)
        turn = math.log if self._log else float
        span = turn(self._high) - turn(self._low)
        return (turn(value) - turn(self._low)) / span if span else 0.5

    def ticks(self) -> list[tuple[str, float]]:
        """The values that are written beside the axis: both ends, or all where they are no numbers."""
        if not self._numeric:
            return [(text, place / max(len(self._texts) - 1, 1)) for place, text in enumerate(self._texts)]
        if self._low == self._high:
            return [(f"{self._low:.3g}", 0.5)]
        return [(f"{self._low:.3g}", 0.0), (f"{self._high:.3g}", 1.0)]


def _response(line: Line, style: Style, shift: float) -> go.Scatter:
    rows = list(line.table.iter_rows(named=True))
    symbol = style.symbol.removesuffix("-open")
    return go.Scatter(
        x=[row["value"] + shift for row in rows],
        y=[row["score"] for row in rows],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [_reach(row["high"], row["score"]) for row in rows],
            "arrayminus": [_reach(row["score"], row["low"]) for row in rows],
            "width": 0,
            "thickness": 1.5,
            "color": style.fill(0.55),
        },
        mode="lines+markers",
        line={"color": style.colour, "dash": style.dash, "width": 2},
        marker={
            "color": style.colour,
            "size": 10,
            "symbol": [symbol if row["plausible"] else f"{symbol}-open" for row in rows],
        },
        name=escaped(line.name),
        customdata=[
            f"{escaped(row['text'])}: {score_text(row['score'], row['low'], row['high'], row['mark'])}" for row in rows
        ],
        hovertemplate=_HOVER,
    )


def _trial(row: dict[str, Any], values: Sequence[Any], scales: Sequence[_Scale]) -> go.Scatter:
    places = [scale.at(value) for scale, value in zip(scales, values, strict=True)]
    known = [(x, y) for x, y in enumerate(places) if y is not None]
    reached = "-" if row[REACHED] is None else f"{row[REACHED]:.3f}"
    text = f"{escaped(row['parameters'])}<br>{row['state']}, objective {reached}"
    best = bool(row["best"])
    return go.Scatter(
        x=[x for x, _ in known],
        y=[y for _, y in known],
        mode="lines+markers",
        opacity=1.0 if best else 0.65,
        line={
            "color": COLOURS[0] if best else GREY,
            "dash": _DASHES.get(row["state"], "dash"),
            "width": 2.25 if best else 1.5,
        },
        marker={"size": 7 if best else 5, "color": COLOURS[0] if best else GREY},
        name=escaped(f"{row['method']} {row['setting']} #{row['number']}"),
        showlegend=False,
        customdata=[text] * len(known),
        hovertemplate=_HOVER,
    )


def _legend(trials: pl.DataFrame) -> list[tuple[str, str]]:
    """Dash and name of what is drawn: the best, then every other state that occurs."""
    states = trials.filter(~pl.col("best"))["state"].unique().sort().to_list()
    return [("solid", "best of its search"), *((_DASHES.get(state, "dash"), state) for state in states)]


def _tick(place: int, height: float, text: str) -> dict[str, Any]:
    """A value beside its axis; the ends stand above and below it, where no line crosses them."""
    beside = {"xanchor": "left", "xshift": 6}
    ends = {0.0: {"yanchor": "top", "yshift": -6}, 1.0: {"yanchor": "bottom", "yshift": 6}}
    return {"x": place, "y": height, "text": escaped(text), "showarrow": False, "font": {"size": 12}} | ends.get(
        height, beside
    )


def _reach(upper: float | None, lower: float | None) -> float:
    return 0.0 if upper is None or lower is None else max(upper - lower, 0.0)
