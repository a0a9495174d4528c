"""Axes and hover texts that the figures share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from bench.results.text import count_text

GRID = "rgba(133,140,151,0.22)"
LEGEND = {"orientation": "h", "yanchor": "top", "y": -0.1, "x": 0, "xanchor": "left"}
NARROWEST, WIDEST = 1 / 64, 256.0  # factors beyond are cut off at the edge of the figure
_TICK_STEPS = (1, 2, 3, 4)  # every, every second, ... power of two


def labels_axis(frame: pl.DataFrame) -> dict[str, Any]:
    """The horizontal axis over `n_labels`: logarithmic, ticks at the budgets, thinned where they would collide.

    It has no title, which a long legend would cover on a narrow page: the heading above says what it is.
    """
    axis = {"type": "log", "showgrid": False, "zeroline": False}
    sizes = sorted({round(value) for value in frame["n_labels"].drop_nulls()})
    if not sizes:
        return axis
    span = math.log10(sizes[-1] / sizes[0])
    apart = min(math.log10(1.4), 0.1 * span)
    ticks: list[int] = []
    for labels in sizes:
        if not ticks or math.log10(labels / ticks[-1]) >= apart:
            ticks.append(labels)
    beyond = min(0.08, 0.06 * span) or 0.08
    ends = [math.log10(ticks[0]) - beyond, math.log10(ticks[-1]) + beyond]
    return {**axis, "tickvals": ticks, "ticktext": [f"{labels:,}" for labels in ticks], "range": ends}


def factor_axis(values: Sequence[float | None], *, most: int = 7) -> dict[str, Any]:
    """A logarithmic axis of label-saving factors: it shows 1x and all finite values, with at most `most` ticks."""
    finite = [value for value in values if value is not None and math.isfinite(value) and value > 0]
    low, high = max(min([0.85, *finite]) / 1.12, NARROWEST), min(max([2.2, *finite]) * 1.12, WIDEST)
    powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    step = next((step for step in _TICK_STEPS if sum(power % step == 0 for power in powers) <= most), 4)
    ticks = [2.0**power for power in powers if power % step == 0]
    text = [f"{tick:g}×" if tick >= 1 else f"1/{round(1 / tick)}×" for tick in ticks]
    return {"type": "log", "tickvals": ticks, "ticktext": text, "range": [math.log10(low), math.log10(high)]}


def padded(values: Sequence[float | None], share: float = 0.06) -> list[float] | None:
    """A range that holds all finite values with a margin; None where there is none."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return None
    margin = share * ((max(finite) - min(finite)) or 0.1)
    return [min(finite) - margin, max(finite) + margin]


def axis_title(text: str) -> dict[str, Any]:
    """The title of the vertical axis, written above it: it costs a narrow page no width."""
    corner = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    return {**corner, "yshift": 6, "text": text, "showarrow": False, "font": {"size": 13}}


def labels_hover(row: Mapping[str, Any]) -> str:
    """`50 labels (budget 5)`."""
    return f"{count_text(round(row['n_labels']), 'label')} (budget {row['label_budget']})"


def escaped(text: str) -> str:
    """The text without the characters that Plotly would read as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
