"""What a reader takes away from a page: a selection of the leaderboard, its rows and figures as bytes of files."""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import polars as pl

from bench.results.export import export
from bench.results.figures import curve_figure, saved_figure
from bench.results.forest import forest_figure
from bench.results.latex import latex_table
from bench.results.leaderboard import Board
from bench.results.opening import Opened, read_rows
from bench.results.palette import Style
from bench.results.tables import flat, neutral
from bench.results.text import metric_text
from bench.store.schema import ROWS

if TYPE_CHECKING:
    from bench.results.print_files import Draw

LARGE = 10_000  # rows of a study whose bundle takes seconds: it is made when asked for, else at once
MOST = 12  # entrants of a figure, the reference entrants not counted: more cannot be told apart
_CITATION = re.compile(r"```bibtex\n(.*?)```", re.DOTALL)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file in an archive: the same results give the same bytes


@dataclass(frozen=True)
class Bundle:
    """A bundle as one archive, and the BibTeX entry that cites it by its digest; empty where it holds none."""

    archive: bytes
    citation: str


def selected(board: Board, entrants: Sequence[str]) -> Board:
    """The board with the lines and curves of these entrants alone; no number changes."""
    chosen = pl.col("entrant").is_in(list(entrants))
    return replace(board, frame=board.frame.filter(chosen), curves=board.curves.filter(chosen))


def board_file(board: Board, format: str) -> bytes:
    """The leaderboard as "parquet", "csv" or "latex"."""
    if format == "parquet":
        return _parquet(board.frame)
    if format == "csv":
        return neutral(flat(board.frame)).write_csv().encode()
    return latex_table(board).encode()


def rows_file(root: Path, opened: Opened, entrants: Sequence[str], format: str) -> bytes:
    """The rows of these entrants, every column of the schema, as "parquet" or "csv" (without bitmaps and lists)."""
    keys = opened.rows.filter(pl.col("entrant").is_in(list(entrants))).select("row_key")
    rows = read_rows(root, opened.study, list(ROWS)).join(keys, on="row_key", how="semi").sort("row_key")
    if format == "parquet":
        return _parquet(rows)
    nested = [name for name, dtype in rows.schema.items() if dtype == pl.Binary or dtype.is_nested()]
    return neutral(rows.drop(nested)).write_csv().encode()


def figure_file(board: Board, saved: pl.DataFrame, looks: Mapping[str, Style], which: str) -> bytes:
    """A figure of the board as one HTML page that opens without a network: "curves", "saved" or "leaderboard".

    It shows the best MOST entrants of the board and the reference entrants.

    Args:
        saved: labels saved at each budget, as `bench.results.leaderboard.saved_table` returns it.
        looks: of every entrant of the board.
    """
    ranked = board.ranked.with_row_index("line")
    ranked = ranked.filter((pl.col("line") < MOST) | pl.col("is_reference")).drop("line")
    order = ranked["entrant"].to_list()
    if which == "curves":
        figure = curve_figure(board.curves, looks, metric=board.metric, order=order)
    elif which == "saved":
        figure = saved_figure(saved, looks, order=[name for name in order if name not in board.reference])
    elif ranked.is_empty():
        figure = go.Figure()
    else:
        title = metric_text(board.metric)
        figure = forest_figure(ranked, looks, score_title=title, saved_title="labels saved")
    figure.update_layout(template="plotly_white")
    config = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"format": "svg", "filename": which}}
    return str(figure.to_html(include_plotlyjs=True, config=config, full_html=True)).encode()


def print_file(draw: Draw, ending: str) -> bytes:
    """A figure for print of `bench.results.print_files.drawings` as "svg", "pdf" or "png"."""
    from bench.results.print_files import figure_bytes  # matplotlib: only where figures for print are wanted

    return figure_bytes(draw, ending)


def bundle_file(root: Path, study: str | None) -> Bundle:
    """The bundle of a whole study, as `bench export --format bundle` writes it.

    Raises:
        UserError: as `bench.results.export.export`.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = export(root, Path(folder), "bundle", study)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                entry = zipfile.ZipInfo(file.name, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.read_bytes())
        readme = Path(folder) / "README.md"
        match = _CITATION.search(readme.read_text(encoding="utf-8")) if readme.is_file() else None
    return Bundle(buffer.getvalue(), match[1].strip() if match else "")


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
