"""Figures for print, drawn by matplotlib without a browser: label efficiency, labels saved, response to an axis.

Names are text wherever they stand: neither mathematics nor markup is read in them, whatever characters they hold.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.results.axes import NARROWEST, WIDEST, factor_axis, labels_axis
from bench.results.leaderboard import Board
from bench.results.palette import GREY, Style, styles
from bench.results.summary import reference_text
from bench.results.sweep import Axis, Line
from bench.results.text import footnotes, metric_text, saved_text

WIDTH = 5.6  # inches: the width of a page of text
LINES = 6  # of a response figure: more cannot be told apart
_LINE, _ROW = 0.17, 0.27  # inches of a line of the legend, of a line of the forest
_WRAP = 100  # characters of small print across the page
_LEGEND_WIDE, _LEGEND_COLUMN = 82, 36  # characters of a name across the page, and in one of two columns
_NAME_WIDE, _TICK_WIDE = 42, 14  # characters of a name beside the forest, of a value below an axis
_FEW = 4  # bands that may be bold: more would cover each other
_MARKERS = dict(
    zip(("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "star"), "osD^vp*", strict=True)
)
_DASHES = {"solid": "-", "dot": ":", "dash": "--", "dashdot": "-.", "longdash": (0, (9, 3))}
_BOUNDS = {">=": ">", "<=": "<"}
_SMALL = 7.0


def curves_print(board: Board, looks: Mapping[str, Style], order: Sequence[str]) -> Figure:
    """Label-efficiency curves with their intervals as bands, best on top; the axis of labels is logarithmic."""
    figure, axes = _page(3.0 + _legend_height(order))
    handles, faint = [], 0.16 if len(order) <= _FEW else 0.08
    for rank, name in reversed(list(enumerate(order))):
        part = board.curves.filter(pl.col("entrant") == name).sort("n_labels")
        known, style, above = part.drop_nulls(["low", "high"]), looks[name], 3 * (len(order) - rank)
        axes.fill_between(
            known["n_labels"], known["low"], known["high"], color=style.colour, alpha=faint, lw=0, zorder=above
        )
        handles += axes.plot(part["n_labels"], part["score"], zorder=above + 1, **_look(style))
    axes.set_xscale("log")
    ticks = labels_axis(board.curves)
    if "tickvals" in ticks:
        axes.set_xticks(ticks["tickvals"], ticks["ticktext"])
        axes.set_xlim(*(10**end for end in ticks["range"]))
    axes.set_xticks([], minor=True)
    axes.set_xlabel("labelled images")
    axes.set_ylabel(metric_text(board.metric), parse_math=False)
    _legend(figure, handles[::-1], order)
    return figure


def forest_lines(board: Board, order: Sequence[str]) -> pl.DataFrame:
    """The entrants that have a factor of labels saved, and are no reference themselves."""
    known = pl.col("saved").is_not_null() & ~pl.col("is_reference")
    return board.ranked.filter(known, pl.col("entrant").is_in(list(order)))


def forest_print(board: Board, looks: Mapping[str, Style], order: Sequence[str]) -> Figure:
    """Labels saved by each entrant that has a factor, with interval; a triangle is a bound, the line at 1 no saving."""
    shown = forest_lines(board, order)
    small = _small_print(board, shown)
    names = [_wrapped(name, _NAME_WIDE) for name in shown["entrant"]]
    row_height = _ROW + 0.13 * max((name.count("\n") for name in names), default=0)
    figure, axes = _page(0.75 + row_height * shown.height + 0.13 * len(small))
    ends = shown.select("saved", "saved_low", "saved_high").unpivot()["value"].to_list()
    scale = factor_axis(ends, most=7)
    axes.set_xscale("log")
    axes.set_xticks(scale["tickvals"], scale["ticktext"])
    axes.set_xticks([], minor=True)
    axes.set_xlim(*(10**end for end in scale["range"]))
    axes.axvline(1, color=GREY, lw=0.8, ls=(0, (1, 1.5)), zorder=1)
    for place, row in enumerate(shown.iter_rows(named=True)):
        style, censored = looks[row["entrant"]], row["saved_censored"] or ""
        low, high = _inside(row["saved_low"], NARROWEST), _inside(row["saved_high"], WIDEST)
        axes.plot([low, high], [-place, -place], color=style.colour, alpha=0.5, lw=2.2, solid_capstyle="butt", zorder=2)
        marker = _BOUNDS.get(censored) or _MARKERS[style.symbol.removesuffix("-open")]
        axes.plot(row["saved"], -place, marker=marker, color=style.colour, ms=5, ls="", zorder=3)
        words = saved_text(row["saved"], row["saved_low"], row["saved_high"], censored, row["saved_mark"], times="×")
        axes.text(
            1.02,
            -place,
            words,
            transform=axes.get_yaxis_transform(),
            va="center_baseline",
            fontsize=_SMALL,
            parse_math=False,
        )
    axes.set_yticks([-place for place in range(shown.height)], names, parse_math=False)
    axes.set_ylim(-max(shown.height, 1) + 0.4, 0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_xlabel("labels saved")
    _note(figure, small)
    return figure


def response_print(lines: Sequence[Line], axis: Axis, *, metric: str, protocol: str) -> Figure:
    """Score over the values of an axis with intervals; a filled mark may be the best of its line, an open one is worse.

    Values that are no numbers have no line between them.
    """
    drawn = lines[:LINES]
    names = [line.name for line in drawn]
    looks = styles(names)
    worse = any(not line.table["plausible"].all() for line in drawn)
    small = ["95 % intervals; an open mark is significantly worse than the best." if worse else "95 % intervals."]
    small += footnotes(mark for line in drawn for mark in line.table["mark"])
    height = 2.7 + 0.13 * len(small) + (_legend_height(names) if len(drawn) > 1 else 0)
    figure, axes = _page(height, WIDTH if len(drawn) > 1 else 4.4)
    places = axis.places()
    width = max(places.values()) - min(places.values()) or 1.0
    handles = []
    for rank, line in enumerate(drawn):
        shift, look = width * 0.012 * (rank - (len(drawn) - 1) / 2), looks[line.name]
        table = line.table.sort("value").with_columns(x=pl.col("value") + shift)
        axes.vlines(table["x"], table["low"], table["high"], color=look.colour, alpha=0.5, lw=1.6, zorder=2)
        handles += axes.plot(table["x"], table["score"], zorder=3, **_look(look) | ({} if axis.numbers else {"ls": ""}))
        behind = table.filter(~pl.col("plausible"))
        axes.plot(behind["x"], behind["score"], zorder=4, **_look(look) | {"ls": "", "markerfacecolor": "white"})
    axes.set_xticks(list(places.values()), [_wrapped(text, _TICK_WIDE) for text in places], parse_math=False)
    axes.set_xlim(min(places.values()) - 0.08 * width, max(places.values()) + 0.08 * width)
    axes.set_xlabel(axis.label, parse_math=False)
    axes.set_ylabel(f"{metric_text(metric)} ({protocol})", parse_math=False)
    if len(drawn) > 1:
        _legend(figure, handles, names)
    _note(figure, small)
    return figure


def _page(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y")
    axes.set_axisbelow(True)
    return figure, axes


def _look(style: Style) -> dict[str, Any]:
    hollow = {"markerfacecolor": "white"} if style.symbol.endswith("-open") else {}
    marker = _MARKERS[style.symbol.removesuffix("-open")]
    return {"color": style.colour, "ls": _DASHES[style.dash], "lw": 1.4, "marker": marker, "ms": 4.2, **hollow}


def _legend(figure: Figure, handles: Sequence[Artist], names: Sequence[str]) -> None:
    """The names below the axes. They are put in afterwards: a legend leaves out names that begin with an underscore."""
    columns = _columns(names)
    copies = [_sample(handle) for handle in handles]
    legend = figure.legend(copies, ["name"] * len(names), loc="outside lower left", ncols=columns, frameon=False)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(_wrapped(name, _LEGEND_WIDE))


def _sample(handle: Artist) -> Artist:
    """A line of the legend's own, long enough for its dashes to be told apart."""
    if not isinstance(handle, Line2D):
        return handle
    copy = Line2D([], [])
    copy.update_from(handle)
    return copy


def _columns(names: Sequence[str]) -> int:
    return 2 if len(names) > 1 and max(map(len, names)) <= _LEGEND_COLUMN else 1


def _legend_height(names: Sequence[str]) -> float:
    """Inches of the legend."""
    if _columns(names) == 2:
        return 0.1 + _LINE * math.ceil(len(names) / 2)
    return 0.1 + _LINE * sum(_wrapped(name, _LEGEND_WIDE).count("\n") + 1 for name in names)


def _note(figure: Figure, lines: Sequence[str]) -> None:
    """Small print below everything else."""
    if lines:
        figure.supxlabel("\n".join(lines), fontsize=_SMALL, x=0.01, ha="left", color="#444444", parse_math=False)


def _wrapped(name: str, wide: int) -> str:
    return "\n".join(textwrap.wrap(name, wide))


def _inside(value: float | None, end: float) -> float:
    """An open end is drawn to the edge of what the axis may show."""
    return end if value is None or not math.isfinite(value) else min(max(value, NARROWEST), WIDEST)


def _small_print(board: Board, shown: pl.DataFrame) -> list[str]:
    """Against whom, and what the signs mean."""
    notes = footnotes(shown["saved_mark"])
    if board.reference:
        same = f"for the same {metric_text(board.metric)}"
        notes.insert(
            0, f"How many times the labels {reference_text(board)} needs {same}; {board.level * 100:g} % intervals."
        )
    return [line for note in notes for line in textwrap.wrap(note, _WRAP)]
