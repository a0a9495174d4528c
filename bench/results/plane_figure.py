"""The plane noise x label budget as a heat map, for a page and for print."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from bench.results.axes import axis_title, escaped
from bench.results.plane import (
    NoiseColumn,
    Plane,
    budget_label,
    gain_text,
    interval_text,
    share_text,
)
from bench.results.text import footnotes, metric_text, signs

SCALE = ("#E07B5A", "#F7F5F2", "#5FA4D8")  # less, the same, more
LINE = "#111111"
_MARGIN = {"l": 8, "r": 8, "t": 30, "b": 8}
_SMALL = 7.0
_NOTE = "Brackets: the interval includes zero. Black line: the gain is known to change sign there."


def plane_figure(plane: Plane) -> go.Figure:
    """Gain by noise (across, information lost and pixels wrong below it) and label budget (down), with intervals."""
    cells = _cells(plane)
    names = [f"<b>{escaped(head)}</b><br>{'<br>'.join(rest)}" for head, *rest in map(_head, plane.columns)]
    limit = _limit(plane)
    figure = go.Figure(
        go.Heatmap(
            z=[[cell["difference"] if cell else None for cell in row] for row in cells],
            x=names,
            y=[budget_label(plane.protocol, budget) for budget in plane.budgets],
            text=[[_text(cell, "<br>") for cell in row] for row in cells],
            texttemplate="%{text}",
            textfont={"size": 12, "color": "#111111"},
            colorscale=[[0.0, SCALE[0]], [0.5, SCALE[1]], [1.0, SCALE[2]]],
            zmin=-limit,
            zmax=limit,
            xgap=2,
            ygap=2,
            showscale=False,
            hoverongaps=False,
            hovertemplate=f"%{{x}}<br>%{{y}}: %{{z:+.4f}} {escaped(metric_text(plane.metric))}<extra></extra>",
        )
    )
    for start, end in _lines(plane):
        figure.add_shape(type="line", x0=start[0], y0=start[1], x1=end[0], y1=end[1], line={"color": LINE, "width": 4})
    figure.update_xaxes(type="category", showgrid=False, tickangle=0, side="bottom")
    figure.update_yaxes(type="category", showgrid=False, automargin=True)
    figure.add_annotation(axis_title(f"gain in {metric_text(plane.metric)}"))
    figure.update_layout(height=150 + 58 * len(plane.budgets), margin=_MARGIN)
    return figure


def plane_print(plane: Plane) -> Figure:
    """The same for print."""
    cells, limit = _cells(plane), _limit(plane)
    small = [f"{plane.name}, against {plane.baseline}; 95 % intervals.", _NOTE, *footnotes(plane.cells["mark"])]
    height = 0.75 + 0.42 * len(plane.budgets) + 0.14 * len(small)
    figure = Figure(figsize=(max(3.4, 0.9 + 0.98 * len(plane.columns)), height), layout="constrained")
    axes = figure.add_subplot()
    values = [[cell["difference"] if cell else float("nan") for cell in row] for row in cells]
    colours = LinearSegmentedColormap.from_list("gain", SCALE)
    axes.imshow(values, cmap=colours, vmin=-limit, vmax=limit, aspect="auto", origin="lower")
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            axes.text(x, y, _text(cell, "\n"), ha="center", va="center", fontsize=6.5, parse_math=False)
    for start, end in _lines(plane):
        axes.plot([start[0], end[0]], [start[1], end[1]], color=LINE, lw=2.5, solid_capstyle="butt")
    axes.set_xticks(range(len(plane.columns)), ["\n".join(_head(column)) for column in plane.columns], parse_math=False)
    axes.set_yticks(range(len(plane.budgets)), [budget_label(plane.protocol, budget) for budget in plane.budgets])
    axes.tick_params(length=0, labelsize=_SMALL)
    axes.spines[:].set_visible(False)
    axes.set_title(f"gain in {metric_text(plane.metric)}", fontsize=8, loc="left", parse_math=False)
    figure.supxlabel("\n".join(small), fontsize=_SMALL, x=0.01, ha="left", color="#444444", parse_math=False)
    return figure


def _cells(plane: Plane) -> list[list[dict[str, Any] | None]]:
    """Cells [budget][column]."""
    return [[plane.cell(column.label, budget) for column in plane.columns] for budget in plane.budgets]


def _head(column: NoiseColumn) -> list[str]:
    """What stands below a column: its label, then what the noise did."""
    lost, wrong = share_text(column.information_loss), share_text(column.realised_noise_rate)
    return [f"{column.label} labels" if column.anchor else column.label, f"{lost} lost", f"{wrong} wrong"]


def _text(cell: dict[str, Any] | None, newline: str) -> str:
    return "" if cell is None else f"{gain_text(cell)}{signs(cell['mark'])}{newline}{interval_text(cell)}"


def _limit(plane: Plane) -> float:
    """The largest gain or loss: where the colours end."""
    return max((abs(value) for value in plane.cells["difference"]), default=0.0) or 1.0


def _lines(plane: Plane) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """The edges between cells that the break-even line runs along."""
    found = []
    for (x, y), (other, _) in plane.break_even():
        across = other > x
        found.append(((x + 0.5, y - 0.5), (x + 0.5, y + 0.5)) if across else ((x - 0.5, y + 0.5), (x + 0.5, y + 0.5)))
    return found
