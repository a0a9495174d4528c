"""Results to take away: rows and leaderboard as Parquet or CSV, the leaderboard as LaTeX, or a bundle to check."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import polars as pl

from bench.errors import UserError, unknown
from bench.results.bundle import write_bundle
from bench.results.latex import latex_table
from bench.results.leaderboard import Board, make_board
from bench.results.opening import find_study, open_results, read_rows
from bench.store.files import replacing
from bench.store.schema import ROWS

_FORMULA = r"^[=+\-@\t\r]"  # what a spreadsheet would run


def export(root: Path, to: Path, format: str = "parquet", study: str | None = None) -> list[Path]:
    """Writes the rows and the leaderboard of a study into the folder `to`, which is made if need be.

    Args:
        root: the results root.
        to: the folder; files of the same names are replaced.
        format: a key of FORMATS.
        study: name or key of the study; None means the newest.

    Returns:
        The files written.

    Raises:
        UserError: an unknown format or study, no results, or a folder that cannot be written.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "--format")
    opened = open_results(root, study)
    rows = read_rows(root, find_study(root, study), list(ROWS)).sort("row_key")
    try:
        to.mkdir(parents=True, exist_ok=True)
        return FORMATS[format](root, to, rows, make_board(opened))
    except OSError as error:
        raise UserError(f"--to {to}: cannot be written ({error.strerror or error})") from None


def flat(board: pl.DataFrame) -> pl.DataFrame:
    """A leaderboard without nested columns: `score@1`, `low@1`, `high@1` for each budget, tags joined by `; `."""
    points = board.select("entrant", "budgets").explode("budgets").unnest("budgets").drop_nulls("label_budget")
    table = board.drop("budgets").with_columns(pl.col("tags").list.join("; "))
    for budget in points.sort("n_labels")["label_budget"].unique(maintain_order=True):
        part = points.filter(pl.col("label_budget") == budget)
        at = part.select("entrant", *(pl.col(key).alias(f"{key}@{budget}") for key in ("score", "low", "high")))
        table = table.join(at, on="entrant", how="left", maintain_order="left")
    return table


def neutral(frame: pl.DataFrame) -> pl.DataFrame:
    """Text cells that a spreadsheet would run as a formula (`=`, `+`, `-`, `@` in front) behind a leading quote."""
    texts = [pl.col(name) for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(
        pl.when(text.str.contains(_FORMULA)).then(pl.lit("'") + text).otherwise(text).name.keep() for text in texts
    )


def _parquet(root: Path, to: Path, rows: pl.DataFrame, board: Board) -> list[Path]:
    tables = {"rows.parquet": rows, "leaderboard.parquet": board.frame}
    return [_write(to / name, table.write_parquet) for name, table in tables.items()]


def _csv(root: Path, to: Path, rows: pl.DataFrame, board: Board) -> list[Path]:
    bitmaps = [None if bitmap is None else b64encode(bitmap).decode() for bitmap in rows["correct"]]
    lists = [
        pl.Series(name, [None if cell is None else json.dumps(cell.to_list()) for cell in rows[name]], dtype=pl.String)
        for name in ("class_counts", "class_correct")
    ]
    plain = rows.with_columns(pl.Series("correct", bitmaps, dtype=pl.String), *lists)
    tables = {"rows.csv": plain, "leaderboard.csv": flat(board.frame)}
    return [_write(to / name, neutral(table).write_csv) for name, table in tables.items()]


def _latex(root: Path, to: Path, rows: pl.DataFrame, board: Board) -> list[Path]:
    return [_write(to / "leaderboard.tex", lambda path: path.write_text(latex_table(board), encoding="utf-8"))]


def _bundle(root: Path, to: Path, rows: pl.DataFrame, board: Board) -> list[Path]:
    return write_bundle(root, to, rows, board)


FORMATS: dict[str, Callable[[Path, Path, pl.DataFrame, Board], list[Path]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "latex": _latex,
    "bundle": _bundle,
}


def _write(path: Path, write: Callable[[Path], object]) -> Path:
    with replacing(path) as temporary:
        write(temporary)
    return path
