"""A bar for each setting and parameter of a search: how much it mattered."""

from __future__ import annotations

import plotly.graph_objects as go

from bench.results.axes import GRID, escaped
from bench.results.importance import Importance
from bench.results.palette import COLOURS

_BAR_PIXELS = 46


def importance_figure(found: Importance) -> go.Figure:
    """Bars, the most important on top, its name above each; the line is one standard deviation over the shuffles."""
    heights = [-place for place in range(len(found.names))]
    bars = go.Bar(
        x=list(found.drops),
        y=heights,
        width=0.34,
        orientation="h",
        marker={"color": COLOURS[0]},
        error_x={"type": "data", "array": list(found.spreads), "width": 0, "thickness": 1.5, "color": COLOURS[1]},
        customdata=[f"{drop:.3f} ± {spread:.3f}" for drop, spread in zip(found.drops, found.spreads, strict=True)],
        text=[escaped(name) for name in found.names],
        textposition="none",
        hovertemplate="<b>%{text}</b><br>%{customdata}<extra></extra>",
    )
    figure = go.Figure(bars)
    for name, height in zip(found.names, heights, strict=True):
        place = {"xref": "paper", "x": 0, "xanchor": "left", "y": height + 0.18, "yanchor": "bottom"}
        figure.add_annotation(**place, text=escaped(name), showarrow=False, font={"size": 13}, borderpad=0)
    figure.update_yaxes(visible=False, fixedrange=True, range=[heights[-1] - 0.35, 0.75])
    figure.update_xaxes(
        gridcolor=GRID, zeroline=True, zerolinecolor=GRID, fixedrange=True, rangemode="tozero", nticks=6
    )
    margin = {"l": 4, "r": 8, "t": 4, "b": 8}
    figure.update_layout(height=50 + _BAR_PIXELS * len(found.names), margin=margin, showlegend=False)
    return figure
