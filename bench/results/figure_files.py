"""Figures as files: SVG, PDF and PNG for print, and HTML pages that share one copy of Plotly and need no network."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from bench.results.figures import curve_figure, saved_figure
from bench.results.forest import forest_figure
from bench.results.leaderboard import Board, saved_table
from bench.results.opening import Opened
from bench.results.palette import styles
from bench.results.plane import planes
from bench.results.plane_figure import plane_figure
from bench.results.print_files import write_print_figures
from bench.results.text import metric_text
from bench.store.files import replacing

MOST = 12  # entrants of a figure, the reference entrants not counted: more cannot be told apart
_SCRIPT = "plotly.min.js"


def write_figures(opened: Opened, board: Board, to: Path) -> list[Path]:
    """Writes curves, labels saved, responses, leaderboard and noise planes of the best entrants and the references.

    Returns:
        The files written: those for print, then HTML pages; the last is the copy of Plotly that the pages read.
    """
    looks = styles(board.frame["entrant"].to_list(), board.reference)
    written = [_page(to / f"{name}.html", figure, name) for name, figure in board_figures(opened, board).items()]
    with replacing(to / _SCRIPT) as temporary:
        temporary.write_text(get_plotlyjs(), encoding="utf-8")
    return [*write_print_figures(opened, board, looks, to), *written, to / _SCRIPT]


def board_figures(opened: Opened, board: Board) -> dict[str, go.Figure]:
    """Figures of the best entrants and the references, by name.

    Returns:
        "curves" (score against labels), "labels_saved", "leaderboard" (a forest plot), and "plane_1" and on, a noise
        plane each, where the study has one.
    """
    ranked = board.ranked.with_row_index("line")
    shown = ranked.filter((ranked["line"] < MOST) | ranked["is_reference"]).drop("line")
    order = shown["entrant"].to_list()
    looks = styles(board.frame["entrant"].to_list(), board.reference)
    curves = curve_figure(board.curves, looks, metric=board.metric, order=order)
    saved = saved_figure(saved_table(opened, metric=board.metric), looks, order=order)
    title = metric_text(board.metric)
    forest = forest_figure(shown, looks, score_title=title, saved_title="labels saved") if order else go.Figure()
    pages = {"curves": curves, "labels_saved": saved, "leaderboard": forest}
    for number, plane in enumerate(planes(opened, board.metric), start=1):
        pages[f"plane_{number}"] = plane_figure(plane)
    for figure in pages.values():
        figure.update_layout(template="plotly_white")
    return pages


def _page(path: Path, figure: go.Figure, name: str) -> Path:
    config = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"format": "svg", "filename": name}}
    text = figure.to_html(include_plotlyjs="directory", config=config, full_html=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
