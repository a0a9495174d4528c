"""The leaderboard as a figure: intervals of score and of labels saved, one row an entrant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import polars as pl
from plotly.subplots import make_subplots

from bench.results.axes import GRID, NARROWEST, WIDEST, escaped, factor_axis, padded
from bench.results.palette import GREY, Style
from bench.results.text import saved_text, score_text

ROW_PIXELS = 56
SCORE, SAVED = 1, 2  # columns of the figure
_BOUNDS = {">=": "triangle-right", "<=": "triangle-left"}


def forest_figure(board: pl.DataFrame, styles: Mapping[str, Style], *, score_title: str, saved_title: str) -> go.Figure:
    """Score left, labels saved right (log axis; a tick marks 1x, the reference); best on top.

    Names stand above the intervals and factors below, so that the figure can be read on a page of any width.

    Args:
        board: rows of `leaderboard` that have a score, best first.
        styles: of every entrant of the board.
    """
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.06)
    figure.add_trace(_reference_ticks(board.height), 1, SAVED)
    for place, row in enumerate(board.iter_rows(named=True)):
        _add_row(figure, row, -place, styles[row["entrant"]])
    figure.update_yaxes(visible=False, range=[-board.height + 0.42, 0.6], fixedrange=True)
    figure.update_xaxes(gridcolor=GRID, zeroline=False, fixedrange=True)
    scores = board.select("score", "score_low", "score_high").unpivot()["value"].to_list()
    factors = board.select("saved", "saved_low", "saved_high").unpivot()["value"].to_list()
    figure.update_xaxes(title=score_title, tickformat=".2f", nticks=5, range=padded(scores), row=1, col=SCORE)
    figure.update_xaxes(title=saved_title, **factor_axis(factors, most=5), row=1, col=SAVED)
    margin = {"l": 4, "r": 4, "t": 4, "b": 8}
    figure.update_layout(height=64 + ROW_PIXELS * board.height, margin=margin, showlegend=False)
    return figure


def _add_row(figure: go.Figure, row: Mapping[str, Any], height: float, style: Style) -> None:
    score = score_text(row["score"], row["score_low"], row["score_high"], row["score_mark"])
    _whisker(figure, SCORE, height, (row["score_low"], row["score"], row["score_high"]), style, row["entrant"], score)
    name = f"{row['place']}  <b>{escaped(row['entrant'])}</b>{' (reference)' if row['is_reference'] else ''}"
    figure.add_annotation(_label(height, name, left=True))
    if row["saved"] is None:
        return
    censored = row["saved_censored"] or ""
    saved = saved_text(row["saved"], row["saved_low"], row["saved_high"], censored, row["saved_mark"], times="×")
    ends = (row["saved_low"], row["saved"], row["saved_high"])
    _whisker(figure, SAVED, height, ends, style, row["entrant"], saved, _BOUNDS.get(censored))
    figure.add_annotation(_label(height, escaped(saved), left=False))


def _whisker(
    figure: go.Figure,
    column: int,
    height: float,
    ends: tuple[float | None, float, float | None],
    style: Style,
    name: str,
    text: str,
    symbol: str | None = None,
) -> None:
    """One interval: a bar from low to high and a point at the estimate."""
    low, value, high = ends
    if low is not None and high is not None:
        bar = [_inside(low, column), _inside(high, column)]
        line = {"color": style.fill(0.5), "width": 4}
        figure.add_trace(go.Scatter(x=bar, y=[height, height], mode="lines", line=line, hoverinfo="skip"), 1, column)
    marker = {"color": style.colour, "size": 11, "symbol": symbol or style.symbol.removesuffix("-open")}
    point = go.Scatter(
        x=[value],
        y=[height],
        mode="markers",
        marker=marker,
        customdata=[[escaped(name), escaped(text)]],
        hovertemplate="<b>%{customdata[0]}</b><br>%{customdata[1]}<extra></extra>",
    )
    figure.add_trace(point, 1, column)


def _inside(value: float, column: int) -> float:
    """An open end is drawn to the edge of what the axis may show."""
    return min(max(value, NARROWEST), WIDEST) if column == SAVED else value


def _reference_ticks(rows: int) -> go.Scatter:
    """A short upright line at 1x in every row, which ends above the numbers of a narrow page."""
    heights = [height for place in range(rows) for height in (-place - 0.11, -place + 0.2, math.nan)]
    line = {"color": GREY, "width": 1.5}
    return go.Scatter(x=[1.0] * len(heights), y=heights, mode="lines", line=line, hoverinfo="skip")


def _label(height: float, text: str, *, left: bool) -> dict[str, Any]:
    side = "left" if left else "right"
    above = {"yanchor": "bottom", "yshift": 8} if left else {"yanchor": "top", "yshift": -7}
    place = {"xref": "paper", "yref": "y", "x": 0 if left else 1, "y": height, "xanchor": side}
    return {**place, **above, "text": text, "showarrow": False, "align": side, "borderpad": 0, "font": {"size": 13}}
