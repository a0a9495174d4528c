"""Results to take away: rows and leaderboard as Parquet or CSV, LaTeX, figures, an Optuna storage, a bundle."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.errors import UserError, unknown
from bench.results.bundle import write_bundle
from bench.results.latex import latex_table
from bench.results.leaderboard import Board, make_board
from bench.results.opening import Opened, Study, find_study, open_results, read_rows
from bench.results.tables import flat, neutral
from bench.store.files import replacing
from bench.store.fragments import Fragments
from bench.store.schema import ROWS


@dataclass(frozen=True)
class Source:
    """What an export is made from: a study's rows and trials with all columns of the schema, and its leaderboard."""

    root: Path
    opened: Opened
    board: Board
    rows: pl.DataFrame
    trials: pl.DataFrame


def export(root: Path, to: Path, format: str = "parquet", study: str | None = None) -> list[Path]:
    """Writes the results of a study into the folder `to`, which is made if need be.

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
    manifest = find_study(root, study)
    rows = read_rows(root, manifest, list(ROWS)).sort("row_key")
    source = Source(root, opened, make_board(opened), rows, read_trials(root, manifest))
    try:
        to.mkdir(parents=True, exist_ok=True)
        return FORMATS[format](source, to)
    except OSError as error:
        raise UserError(f"--to {to}: cannot be written ({error.strerror or error})") from None


def read_trials(root: Path, study: Study | None) -> pl.DataFrame:
    """The trials of a study's searches, all columns of the schema; without a study, every trial of the root."""
    wanted = pl.lit(True) if study is None else pl.col("search_key").is_in(list(study.search_keys))
    return Fragments(root, "trials").read(lambda trials: trials.filter(wanted).sort("search_key", "number"))


def _parquet(source: Source, to: Path) -> list[Path]:
    tables = {"rows.parquet": source.rows, "trials.parquet": source.trials, "leaderboard.parquet": source.board.frame}
    return [_write(to / name, table.write_parquet) for name, table in tables.items()]


def _csv(source: Source, to: Path) -> list[Path]:
    rows = source.rows
    bitmaps = [None if bitmap is None else b64encode(bitmap).decode() for bitmap in rows["correct"]]
    lists = [_as_json(rows[name]) for name in ("class_counts", "class_correct")]
    tables = {
        "rows.csv": rows.with_columns(pl.Series("correct", bitmaps, dtype=pl.String), *lists),
        "trials.csv": source.trials.with_columns(_as_json(source.trials["curve"])),
        "leaderboard.csv": flat(source.board.frame),
    }
    return [_write(to / name, neutral(table).write_csv) for name, table in tables.items()]


def _as_json(column: pl.Series) -> pl.Series:
    cells = [None if cell is None else json.dumps(cell.to_list()) for cell in column]
    return pl.Series(column.name, cells, dtype=pl.String)


def _latex(source: Source, to: Path) -> list[Path]:
    return [_write(to / "leaderboard.tex", lambda path: path.write_text(latex_table(source.board), encoding="utf-8"))]


def _figures(source: Source, to: Path) -> list[Path]:
    from bench.results.figure_files import write_figures  # Plotly and matplotlib: only where figures are wanted

    return write_figures(source.opened, source.board, to)


def _bundle(source: Source, to: Path) -> list[Path]:
    return write_bundle(source.root, to, source.opened, source.rows, source.trials, source.board)


def _optuna(source: Source, to: Path) -> list[Path]:
    from bench.results.optuna_storage import write_storage  # Optuna: only where its storage is wanted

    if source.opened.study is None:
        raise UserError("--format optuna: these results know of no study, and so not what the trials were drawn from")
    return [write_storage(source.trials, source.opened.study.spec, to)]


FORMATS: dict[str, Callable[[Source, Path], list[Path]]] = {
    "parquet": _parquet,
    "csv": _csv,
    "latex": _latex,
    "figures": _figures,
    "bundle": _bundle,
    "optuna": _optuna,
}


def _write(path: Path, write: Callable[[Path], object]) -> Path:
    with replacing(path) as temporary:
        write(temporary)
    return path
