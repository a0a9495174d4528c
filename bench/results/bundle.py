"""A bundle: one folder with rows, trials, test items and leaderboard of a study, to cite and to recompute."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from bench.results.bundle_page import bundle_page
from bench.results.digests import file_digest, line_digests, value_digest, whole_digest
from bench.results.leaderboard import Board
from bench.results.opening import Opened, split_path
from bench.store.files import replacing, write_json
from bench.store.secrets import check_texts

ROWS_FILE = "rows.parquet"
TRIALS_FILE = "trials.parquet"
BOARD_FILE = "leaderboard.parquet"
CURVES_FILE = "curves.parquet"
SPLITS_FILE = "splits.parquet"
STUDY_FILE = "study.json"
ENVIRONMENT_FILE = "environment.json"
README_FILE = "README.md"
INDEX_FILE = "digests.json"
# The keys by which `verify` names a changed line.
LINE_KEYS = {ROWS_FILE: ("row_key",), TRIALS_FILE: ("search_key", "number")}
BUNDLE_VERSION = 2  # raised with the wording or the layout of the page
_ENVIRONMENT = ("version", "git_commit", "git_dirty", "numerical_versions", "packages", "device")


def write_bundle(
    root: Path, to: Path, opened: Opened, rows: pl.DataFrame, trials: pl.DataFrame, board: Board
) -> list[Path]:
    """Writes the bundle of a study into the folder `to`.

    Args:
        root: the results root, for the split table.
        to: the folder of the bundle.
        opened: the study and its rows as the leaderboard was made from.
        rows: the rows of the study, all columns of the schema.
        trials: the trials of its searches, all columns of the schema.
        board: the leaderboard made from them.

    Returns:
        The files written; the index of digests is the last.

    Raises:
        UserError: the study or its rows, written by an older bench, hold a password, signature or token.
    """
    said = {STUDY_FILE: _study(board), ENVIRONMENT_FILE: _environment(rows)}
    check_texts("--format bundle", {**said, ROWS_FILE: _texts(rows), TRIALS_FILE: _texts(trials)})
    tables = {ROWS_FILE: rows, TRIALS_FILE: trials, BOARD_FILE: board.frame, CURVES_FILE: board.curves}
    for name, table in tables.items():
        with replacing(to / name) as temporary:
            table.write_parquet(temporary)
    files = [to / name for name in tables]
    split = split_path(root, rows)
    if split.is_file():
        with replacing(to / SPLITS_FILE) as temporary:
            shutil.copyfile(split, temporary)
        files.append(to / SPLITS_FILE)
    for name, value in said.items():
        write_json(to / name, value)
        files.append(to / name)
    digests = {path.name: file_digest(path) for path in files}
    digest = whole_digest(digests)
    with replacing(to / README_FILE) as temporary:
        temporary.write_text(bundle_page(opened, board, rows, digest), encoding="utf-8")
    digests[README_FILE] = file_digest(to / README_FILE)
    parts = {name: line_digests(tables[name], keys) for name, keys in LINE_KEYS.items()}
    parts |= {name: {key: value_digest(value[key]) for key in value} for name, value in said.items()}
    index = {"metric": board.metric, "level": board.level, "reference": list(board.reference)}
    index |= {"bundle_version": BUNDLE_VERSION, "digest": digest, "files": digests, "parts": parts}
    write_json(to / INDEX_FILE, index)
    return [*files, to / README_FILE, to / INDEX_FILE]


def _study(board: Board) -> dict[str, Any]:
    study = board.study
    if study is None:
        return {}
    return {
        "study_key": study.key,
        "study": study.name,
        "created": study.created,
        "spec": _portable(study.spec),
        "data": dict(study.data),
        "row_keys": list(study.row_keys),
        "search_keys": list(study.search_keys),
    }


def _portable(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The study without the folder its images lay in: that says nothing elsewhere, and names the user's machine."""
    data = spec.get("data")
    return {**spec, "data": {**data, "root": None}} if isinstance(data, Mapping) else dict(spec)


def _texts(table: pl.DataFrame) -> dict[str, list[str]]:
    """The different texts of each column that is neither a key nor a number."""
    columns = [name for name, kind in table.schema.items() if kind == pl.String and not name.endswith("_key")]
    return {name: table[name].drop_nulls().unique().to_list() for name in columns}


def _environment(rows: pl.DataFrame) -> dict[str, Any]:
    """Every value that the rows hold of each provenance column; JSON columns as data."""
    found = {}
    for name in _ENVIRONMENT:
        values = rows[name].drop_nulls().unique().sort().to_list()
        found[name] = [json.loads(value) if name in ("numerical_versions", "packages") else value for value in values]
    return found
