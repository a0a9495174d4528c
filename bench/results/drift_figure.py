"""Layer drift by block, encoder and decoder apart."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from bench.results.axes import GRID, LEGEND, axis_title, escaped
from bench.results.drift_words import between, number
from bench.results.palette import GREY, styles
from bench.store.drift import CONTRAST, ENCODER

_WIDEST = (-0.6, 1.6)  # drifts beyond are cut off at the edge of the figure


def drift_figure(drift: pl.DataFrame) -> go.Figure:
    """Drift of the blocks of each setting with intervals, from the image on; the grey line is the threshold.

    Args:
        drift: columns of `bench.store.drift.DRIFT`.
    """
    blocks = drift.filter(pl.col("part") != CONTRAST).sort("place")
    names = blocks["block"].unique(maintain_order=True).to_list()
    settings = drift["setting"].unique(maintain_order=True).to_list()
    looks, figure = styles(settings), go.Figure()
    for rank, setting in enumerate(settings):
        rows = blocks.filter(pl.col("setting") == setting, pl.col("drift").is_not_null()).to_dicts()
        shift, look = 0.08 * (rank - (len(settings) - 1) / 2), looks[setting]
        figure.add_trace(
            go.Scatter(
                x=[names.index(row["block"]) + shift for row in rows],
                y=[_inside(row["drift"]) for row in rows],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [_inside(_or(row["high"], _WIDEST[1])) - _inside(row["drift"]) for row in rows],
                    "arrayminus": [_inside(row["drift"]) - _inside(_or(row["low"], _WIDEST[0])) for row in rows],
                    "width": 0,
                    "thickness": 1.5,
                    "color": look.fill(0.55),
                },
                mode="markers",
                marker={"color": look.colour, "size": 10, "symbol": look.symbol},
                name=escaped(setting),
                customdata=[f"{escaped(row['block'])}: {number(row['drift'])} ({between(row)})" for row in rows],
                hovertemplate="<b>%{fullData.name}</b><br>%{customdata}<extra></extra>",
            )
        )
    for height, dash in ((0.0, "dot"), (1.0, "dot"), (drift["threshold"][0], "dash")):
        figure.add_hline(y=height, line={"color": GREY, "width": 1, "dash": dash})
    behind = blocks.filter(pl.col("part") == ENCODER)["block"].n_unique()
    if behind < len(names):
        figure.add_vline(x=behind - 0.5, line={"color": GREY, "width": 1})
        for side, name in (("right", "encoder"), ("left", "decoder")):
            figure.add_annotation(x=behind - 0.5, y=1, yref="paper", text=name, xanchor=side, showarrow=False)
    ticks = [escaped(name) for name in names]
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=ticks, showgrid=False, zeroline=False)
    figure.update_xaxes(range=[-0.5, len(names) - 0.5])
    figure.update_yaxes(gridcolor=GRID, zeroline=False, range=list(_WIDEST))
    figure.add_annotation(axis_title("drift: 0 as another clean run, 1 as permuted labels"))
    margin = {"l": 8, "r": 8, "t": 30, "b": 8}
    figure.update_layout(height=380, margin=margin, hovermode="closest", legend=LEGEND | {"y": -0.12}, showlegend=True)
    return figure


def _inside(value: float) -> float:
    return min(max(value, _WIDEST[0]), _WIDEST[1])


def _or(value: float | None, end: float) -> float:
    return end if value is None else value
