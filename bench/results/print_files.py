"""Figures for print as bytes of files: SVG, PDF and PNG, the same bytes every time."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.results.leaderboard import Board
from bench.results.opening import Opened
from bench.results.palette import Style
from bench.results.plane import planes
from bench.results.plane_figure import plane_print
from bench.results.print_figures import curves_print, forest_lines, forest_print, response_print
from bench.results.sweep import axes_of, lines
from bench.store.files import replacing

ENDINGS = ("svg", "pdf", "png")
MOST = 12  # entrants of a figure, the reference entrants not counted: more cannot be told apart
_DOTS = 300  # a PNG's, to an inch
_NO_DATES: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
}
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "bench",
    "svg.fonttype": "path",  # text as outlines: it looks the same wherever the file is opened
    "pdf.fonttype": 42,
    "text.usetex": False,
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.linewidth": 0.7,
    "axes.unicode_minus": True,
    "axes.formatter.use_mathtext": False,
    "grid.color": "#DDE0E4",
    "grid.linewidth": 0.6,
    "legend.fontsize": 7.5,
    "legend.handlelength": 4.4,
    "legend.borderaxespad": 0.2,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
}
_LOCK = threading.Lock()  # matplotlib's settings belong to the process: two readers must not draw at once

Draw = Callable[[], Figure]


def drawings(opened: Opened, board: Board, looks: Mapping[str, Style]) -> dict[str, Draw]:
    """Every figure for print of these results by name: curves, forest where some entrant has a factor of labels saved,
    the response to each scientific axis, and where labels were noisy the plane of noise and label budget.

    Args:
        looks: the style of every entrant of the board.
    """
    ranked = board.ranked.with_row_index("line")
    order = ranked.filter((pl.col("line") < MOST) | pl.col("is_reference"))["entrant"].to_list()
    found: dict[str, Draw] = {"curves": lambda: curves_print(board, looks, order)}
    if forest_lines(board, order).height:
        found["forest"] = lambda: forest_print(board, looks, order)
    for axis in axes_of(opened.scored(board.metric)):
        rows = opened.scored(board.metric).filter(pl.col("method") == axis.method)
        for protocol in _protocols(rows["protocol"].unique().sort().to_list()):
            drawn = lines(opened, axis, metric=board.metric, protocol=protocol)
            if drawn:
                name = _free(_slug(f"response_{axis.label}_{protocol}"), found)
                found[name] = lambda drawn=drawn, axis=axis, protocol=protocol: response_print(  # type: ignore[misc]
                    drawn, axis, metric=board.metric, protocol=protocol
                )
    for plane in planes(opened, board.metric):
        found[_free(_slug(f"plane_{plane.name}"), found)] = lambda plane=plane: plane_print(plane)  # type: ignore[misc]
    return found


def figure_bytes(draw: Draw, ending: str) -> bytes:
    """A figure as "svg", "pdf" or "png"; equal figures give equal bytes, and no date is in them."""
    buffer = io.BytesIO()
    with _LOCK, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]
        figure = draw()
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format=ending, dpi=_DOTS, metadata=_NO_DATES[ending])
    return buffer.getvalue()


def write_print_figures(opened: Opened, board: Board, looks: Mapping[str, Style], to: Path) -> list[Path]:
    """Writes every figure for print in every format; returns the files."""
    written = []
    for name, draw in drawings(opened, board, looks).items():
        for ending in ENDINGS:
            with replacing(to / f"{name}.{ending}") as temporary:
                temporary.write_bytes(figure_bytes(draw, ending))
            written.append(to / f"{name}.{ending}")
    return written


def _protocols(found: Sequence[str]) -> list[str]:
    """The linear probe where there is one, else every protocol."""
    return ["linear"] if "linear" in found else list(found)


def _slug(name: str) -> str:
    """A name as a file's: what is no letter, digit, dot, hyphen or underscore becomes a hyphen."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:100].strip("-.")


def _free(name: str, taken: Mapping[str, object]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
