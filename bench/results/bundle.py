"""A bundle: one folder with rows, trials, test items and leaderboard of a study, to cite and to recompute."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl

from bench.results.digests import file_digest, line_digests, value_digest, whole_digest
from bench.results.leaderboard import Board
from bench.results.opening import split_path
from bench.results.summary import finding
from bench.store.files import replacing, write_json

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
BUNDLE_VERSION = 1
_ENVIRONMENT = ("version", "git_commit", "git_dirty", "numerical_versions", "packages", "device")

_README = """# {name}

{finding}

Made by PretextBench {version}. `bench verify .` recomputes every number below from the rows and says what differs.

Digest: `{digest}`

| file | holds |
|---|---|
| rows.parquet | every measurement, with a bitmap of the correct test items |
| trials.parquet | every trial of the searches that chose the nuisances |
| leaderboard.parquet | scores, labels saved, ranks and costs of each entrant |
| curves.parquet | score of each entrant at each label budget |
| splits.parquet | the items of train pool, validation and test, with labels and groups |
| study.json | the resolved study and the data it ran on |
| environment.json | versions and devices that made the rows |
| digests.json | SHA-256 digests of the files, a digest of each row and trial, metric and level of the leaderboard |

The columns of rows.parquet and trials.parquet are described in docs/schema.md of PretextBench.

Intervals are {level:g} % and conditional on the tuning. Failed entrants are listed and not ranked.

## Citation

```bibtex
@misc{{pretextbench_{key},
  title = {{{name}: label efficiency of self-supervised pretraining}},
  note = {{PretextBench {version}, study {key}, data fingerprint {fingerprint}, bundle digest {digest}}},
  year = {{{year}}}
}}
```
"""


def write_bundle(root: Path, to: Path, rows: pl.DataFrame, trials: pl.DataFrame, board: Board) -> list[Path]:
    """Writes the bundle of a study into the folder `to`.

    Args:
        root: the results root, for the split table.
        to: the folder of the bundle.
        rows: the rows of the study, all columns of the schema.
        trials: the trials of its searches, all columns of the schema.
        board: the leaderboard made from them.

    Returns:
        The files written; the index of digests is the last.
    """
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
    said = {STUDY_FILE: _study(board), ENVIRONMENT_FILE: _environment(rows)}
    for name, value in said.items():
        write_json(to / name, value)
        files.append(to / name)
    digests = {path.name: file_digest(path) for path in files}
    digest = whole_digest(digests)
    with replacing(to / README_FILE) as temporary:
        temporary.write_text(_readme(rows, board, digest), encoding="utf-8")
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
        "spec": dict(study.spec),
        "data": dict(study.data),
        "row_keys": list(study.row_keys),
        "search_keys": list(study.search_keys),
    }


def _environment(rows: pl.DataFrame) -> dict[str, Any]:
    """Every value that the rows hold of each provenance column; JSON columns as data."""
    found = {}
    for name in _ENVIRONMENT:
        values = rows[name].drop_nulls().unique().sort().to_list()
        found[name] = [json.loads(value) if name in ("numerical_versions", "packages") else value for value in values]
    return found


def _readme(rows: pl.DataFrame, board: Board, digest: str) -> str:
    study = board.study
    finished = rows["finished"].max()
    return _README.format(
        name=study.name if study else "all rows",
        key=study.key[:8] if study else "rows",
        finding=finding(board).sentence,
        version=", ".join(rows["version"].drop_nulls().unique().sort().to_list()),
        level=board.level * 100,
        fingerprint=rows["dataset_fingerprint"][0],
        digest=digest,
        year=getattr(finished, "year", "n.d."),
    )
