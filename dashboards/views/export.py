"""Export: what is selected as files, the whole study as a bundle to check, and how to cite it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from bench.results.leaderboard import Board
from bench.results.opening import Opened
from bench.results.takeaway import LARGE, MOST, board_file, figure_file, print_file, rows_file, selected
from bench.results.text import count_text, metric_text
from dashboards.frame import heading, plain, progress_line, show
from dashboards.loading import (
    load_board,
    load_bundle,
    load_drawings,
    load_metrics,
    load_results,
    load_saved,
    load_styles,
)

_MIME = {
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv",
    "tex": "application/x-tex",
    "html": "text/html",
    "zip": "application/zip",
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "png": "image/png",
}
_PAGE, _PRINT = "HTML", ("SVG", "PDF", "PNG")
_FOR_PRINT = {"curves": "Label efficiency", "forest": "Labels saved"}
_FIGURES = {"curves": "Label efficiency", "saved": "Labels saved", "leaderboard": "Leaderboard"}


def page(root: Path, study: str | None) -> None:
    """Choice of entrants, buttons, citation."""
    opened, metrics = load_results(root, study), load_metrics(root, study)
    header = st.container()
    left, right = st.columns([1, 2.2], vertical_alignment="bottom")
    metric = None
    if metrics:
        metric = left.selectbox("Metric", metrics, format_func=metric_text, key="metric", bind="query-params")
    board = load_board(root, study, metric, None)
    names = board.frame["entrant"].to_list()
    chosen = right.multiselect(
        "Entrants", names, key="entrants", bind="query-params", placeholder="All entrants, or choose some"
    )
    order = [name for name in names if name in chosen] or names
    with header:
        told = "all" if len(order) == len(names) else f"{len(order)} of"
        heading(opened.study, "Take the results away", f"What is selected: {told} {count_text(len(names), 'entrant')}.")
        progress_line(root)
    _selection(root, study, opened, board, order, metric)
    _whole(root, study)


def _selection(
    root: Path, study: str | None, opened: Opened, board: Board, order: list[str], metric: str | None
) -> None:
    part, name = selected(board, order), _stem(opened)
    st.subheader("Leaderboard", anchor=False)
    with st.container(horizontal=True):
        for label, format, ending in (
            ("CSV", "csv", "csv"),
            ("Parquet", "parquet", "parquet"),
            ("LaTeX", "latex", "tex"),
        ):
            _button(label, lambda format=format: board_file(part, format), f"{name}-leaderboard.{ending}")  # type: ignore[misc]
    st.subheader("Rows", anchor=False)
    with st.container(horizontal=True):
        for label, format in (("Parquet", "parquet"), ("CSV", "csv")):
            make = lambda format=format: rows_file(root, opened, order, format)  # noqa: E731
            _button(label, make, f"{name}-rows.{format}")
    st.caption("Every measurement of the selection. CSV leaves out the bitmaps of correct test images.")
    _figures(root, study, part, name, metric)


def _figures(root: Path, study: str | None, part: Board, name: str, metric: str | None) -> None:
    st.subheader("Figures", anchor=False)
    formats = [_PAGE, *_PRINT]
    format = st.segmented_control("Format", formats, default=_PAGE, required=True, key="figures", bind="query-params")
    saved, looks = load_saved(root, study, metric), load_styles(root, study)
    with st.container(horizontal=True):
        if format in _PRINT:
            ending = format.lower()
            for which, draw in load_drawings(root, study, metric, tuple(part.frame["entrant"])).items():
                make = lambda draw=draw: print_file(draw, ending)  # noqa: E731
                _button(_label(which), make, f"{name}-{which}.{ending}")
        else:
            for which, label in _FIGURES.items():
                make = lambda which=which: figure_file(part, saved, looks, which)  # noqa: E731
                _button(label, make, f"{name}-{which}.html")
    text = "For print." if format in _PRINT else "Pages that open without a network."
    st.caption(f"{text} They show the best {MOST} of the selection, and the reference.")


def _label(which: str) -> str:
    """What the button of a figure for print says."""
    return _FOR_PRINT.get(which) or plain(which.replace("_", " ", 1).replace("response", "Response", 1))


def _whole(root: Path, study: str | None) -> None:
    st.subheader("The whole study, to check and to cite", anchor=False)
    count = load_results(root, study).rows.height
    if count > LARGE and not _asked(f"Make the bundle of {count:,} rows", f"bundle {study}"):
        st.caption("It takes some seconds. How to cite the study comes with it: a citation names the bundle's digest.")
        return
    bundle = load_bundle(root, study)
    with st.container(horizontal=True):
        _button("Bundle", lambda: bundle.archive, "bundle.zip")
    st.caption(
        "Rows, splits, leaderboard and digests. Unpack it and run bench verify on the folder: it says what differs."
    )
    if bundle.citation:
        st.code(bundle.citation, language="latex", wrap_lines=True)


def _asked(label: str, key: str) -> bool:
    """Whether the reader has pressed this button, now or earlier."""
    if not st.session_state.get(key):
        st.session_state[key] = st.button(label, icon=":material/inventory_2:")
    return bool(st.session_state[key])


def _button(label: str, make: Callable[[], bytes], file_name: str) -> None:
    """A download that is made when it is asked for."""
    ending = file_name.rpartition(".")[2]
    st.download_button(
        label, make, file_name, _MIME[ending], key=file_name, on_click="ignore", icon=":material/download:"
    )


def _stem(opened: Opened) -> str:
    return plain(opened.study.name).replace("\\", "") if opened.study else "results"


show(page)
