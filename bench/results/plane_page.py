"""The planes of noise x label budget as Markdown, for the page of a bundle."""

from __future__ import annotations

from bench.results.markdown import plain, table
from bench.results.opening import Opened
from bench.results.plane import Plane, budget_label, column_text, first_zero, gain_text, interval_text, planes
from bench.results.text import metric_text


def plane_section(opened: Opened, metric: str, *, level: float = 0.95) -> str:
    """A table for each plane, a line for each noise level, and up to which noise the gain holds at each budget.

    Args:
        opened: with the column details of rows.
        metric: a score column.
        level: of the intervals.

    Returns:
        Markdown that starts with a heading of second order; empty where the study has no plane.
    """
    found = planes(opened, metric, level=level)
    if not found:
        return ""
    about = (
        f"Gain in {metric_text(metric)} of pretraining on noisy labels over random initialisation, intervals each on "
        "its own; in brackets where zero is inside or the interval is unknown."
    )
    return "\n".join(["", "## Noise and labels", "", about, "", *(_plane(plane) for plane in found)])


def _plane(plane: Plane) -> str:
    head = ("pretrained on", *(budget_label(plane.protocol, budget) for budget in plane.budgets))
    lines = [
        (column_text(column), *(_cell(plane, column.label, budget) for budget in plane.budgets))
        for column in plane.columns
    ]
    said = "\n".join(f"- {plain(first_zero(plane, budget))}" for budget in plane.budgets)
    return f"**{plain(plane.name)}**\n\n{table(head, lines)}\n\n{said}\n"


def _cell(plane: Plane, column: str, budget: str) -> str:
    cell = plane.cell(column, budget)
    if cell is None:
        return "-"
    interval = interval_text(cell)
    return f"{gain_text(cell)}, {interval}" if interval else gain_text(cell)
