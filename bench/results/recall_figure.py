"""Recall of each class as a figure: one row a class, one point an entrant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from bench.results.axes import GRID, LEGEND, escaped
from bench.results.palette import Style
from bench.results.text import count_text

_ROW_PIXELS = 46
_LEGEND_PIXELS = 20  # for each entrant: on a narrow page its name has a line of its own
_BELOW = 52  # pixels from the last row to the legend: ticks and title of the axis
_APART, _SPREAD = 0.09, 0.4  # of a row: between entrants that would cover each other, and between all of them
_HOVER = "<b>%{fullData.name}</b><br>%{customdata}: %{x:.3f}<extra></extra>"


def recall_figure(recall: pl.DataFrame, styles: Mapping[str, Style], *, order: Sequence[str]) -> go.Figure:
    """Recall by class, the class found least on top; names stand above the points, to be read on a narrow page.

    Args:
        recall: as `bench.results.recall.class_recall` returns it.
        styles: of every entrant in `order`.
        order: the entrants to draw, best first.
    """
    classes = hardest_first(recall)
    heights = {row["class"]: -place for place, row in enumerate(classes.iter_rows(named=True))}
    figure = go.Figure()
    for rank, name in enumerate(order):
        part = recall.filter(pl.col("entrant") == name, pl.col("class").is_in(list(heights)))
        if not part.is_empty():
            shift = min(_APART, _SPREAD / len(order)) * ((len(order) - 1) / 2 - rank)
            figure.add_trace(_points(part, heights, shift, styles[name], name, rank))
    for row in classes.iter_rows(named=True):
        figure.add_annotation(_label(heights[row["class"]], row))
        figure.add_hline(y=heights[row["class"]], line={"color": GRID, "width": 1}, layer="below")
    rows = _ROW_PIXELS * classes.height
    figure.update_yaxes(visible=False, range=[-classes.height + 0.5, 0.75], fixedrange=True)
    axis = {"range": [-0.015, 1.015], "tickformat": ".1f", "nticks": 6, "title": "recall"}
    figure.update_xaxes(gridcolor=GRID, zeroline=False, fixedrange=True, **axis)
    legend = LEGEND | {"y": -_BELOW / max(rows, 1)}
    height = rows + _BELOW + _LEGEND_PIXELS * len(order)
    margin = {"l": 4, "r": 4, "t": 4, "b": 8}
    figure.update_layout(height=height, margin=margin, hovermode="closest", legend=legend, showlegend=True)
    return figure


def hardest_first(recall: pl.DataFrame) -> pl.DataFrame:
    """[class, name, pool, n_test, mean] of the classes in these lines, the one found least first."""
    known = pl.col("name", "pool", "n_test").first()
    return recall.group_by("class").agg(known, pl.col("recall").mean().alias("mean")).sort("mean", "class")


def _points(
    part: pl.DataFrame, heights: Mapping[int, int], shift: float, style: Style, name: str, rank: int
) -> go.Scatter:
    rows = list(part.iter_rows(named=True))
    return go.Scatter(
        x=[row["recall"] for row in rows],
        y=[heights[row["class"]] + shift for row in rows],
        mode="markers",
        marker={"color": style.colour, "symbol": style.symbol, "size": 9},
        name=escaped(name),
        legendrank=rank + 1,
        customdata=[escaped(row["name"]) for row in rows],
        hovertemplate=_HOVER,
    )


def _label(height: float, row: Mapping[str, Any]) -> dict[str, Any]:
    """`Name  110 in the train pool, 40 test images`, above the points."""
    counts = f"{count_text(row['n_test'], 'test image')}"
    if row["pool"] is not None:
        counts = f"{row['pool']:,} in the train pool, {counts}"
    text = f"<b>{escaped(row['name'])}</b>  {counts}"
    place = {"xref": "paper", "yref": "y", "x": 0, "y": height + _SPREAD / 2, "xanchor": "left", "yanchor": "bottom"}
    return {**place, "text": text, "showarrow": False, "align": "left", "borderpad": 0, "font": {"size": 12}}
