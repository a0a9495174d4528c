"""Checking a bundle: digests of the files, scores from the bitmaps, aggregates from the rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.errors import UserError
from bench.results.bundle import (
    BOARD_FILE,
    BUNDLE_VERSION,
    CURVES_FILE,
    INDEX_FILE,
    ROWS_FILE,
    SPLITS_FILE,
    STUDY_FILE,
    file_digest,
)
from bench.results.leaderboard import make_board
from bench.results.opening import assemble, parse_study, read_items
from bench.store.files import read_json

TOLERANCE = 1e-9  # relative and absolute: sums may be taken in another order
_CODE_TAGS = ("tags", "reason")  # they compare with the code of the day, not with the rows


@dataclass(frozen=True)
class Difference:
    """One thing that is not as the bundle says: the file, the line in it, and both values."""

    file: str
    where: str
    stated: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: stated {self.stated}, found {self.found}"


def verify(bundle: Path) -> list[Difference]:
    """Recomputes a bundle and returns what differs; empty when everything agrees.

    Raises:
        UserError: the folder is no bundle, or of a newer version, or a file cannot be read.
    """
    index = read_json(bundle / INDEX_FILE)
    if not isinstance(index, dict) or "files" not in index:
        raise UserError(
            f"{bundle}: not a bundle (no readable {INDEX_FILE}); make one with: bench export --format bundle"
        )
    if index.get("bundle_version", 0) > BUNDLE_VERSION:
        raise UserError(f"{bundle}: written as bundle version {index['bundle_version']}, this reads {BUNDLE_VERSION}")
    differences = _digests(bundle, index["files"])
    try:
        rows = pl.read_parquet(bundle / ROWS_FILE)
        stated = {name: pl.read_parquet(bundle / name) for name in (BOARD_FILE, CURVES_FILE)}
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{bundle}: cannot be read ({type(error).__name__}: {error})") from None
    items = read_items(bundle / SPLITS_FILE)
    differences += _row_scores(rows, items)
    manifest = read_json(bundle / STUDY_FILE)
    study = parse_study(manifest) if isinstance(manifest, dict) and "study_key" in manifest else None
    board = make_board(assemble(rows, items, study), metric=index["metric"], level=index["level"])
    found = {BOARD_FILE: board.frame, CURVES_FILE: board.curves}
    for name, table in stated.items():
        keys = ["entrant"] if name == BOARD_FILE else ["entrant", "label_budget"]
        differences += _tables(name, table, found[name], keys)
    return differences


def _digests(bundle: Path, files: dict[str, str]) -> list[Difference]:
    found = []
    for name, stated in files.items():
        path = bundle / Path(name).name
        actual = file_digest(path) if path.is_file() else "no such file"
        if actual != stated:
            found.append(Difference(name, "SHA-256", stated, actual))
    return found


def _row_scores(rows: pl.DataFrame, items: pl.DataFrame) -> list[Difference]:
    """Accuracy and balanced accuracy of every row, recomputed from its bitmap and the labels of the test items."""
    scored = rows.filter(pl.col("status") == "ok", pl.col("correct").is_not_null(), pl.col("n_test") == items.height)
    if scored.is_empty():
        return []
    labels = items["label"].to_numpy()
    bits = np.stack([np.frombuffer(bitmap, dtype=np.uint8) for bitmap in scored["correct"]])
    right = np.unpackbits(bits, axis=1, count=len(labels)).astype(bool)  # [rows, items]
    recalls = np.stack([right[:, labels == label].mean(axis=1) for label in np.unique(labels)], axis=1)
    actual = {"accuracy": right.mean(axis=1), "balanced_accuracy": recalls.mean(axis=1)}
    found = []
    for name, values in actual.items():
        for key, stated, value in zip(scored["row_key"], scored[name], values, strict=True):
            if stated is not None and not math.isclose(stated, value, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                found.append(Difference(ROWS_FILE, f"{name} of row {key}", f"{stated!r}", f"{float(value)!r}"))
    return found


def _tables(name: str, stated: pl.DataFrame, found: pl.DataFrame, keys: list[str]) -> list[Difference]:
    wanted = {tuple(row[key] for key in keys): row for row in found.iter_rows(named=True)}
    differences = []
    for row in stated.iter_rows(named=True):
        key = tuple(row[part] for part in keys)
        actual = wanted.pop(key, None)
        if actual is None:
            differences.append(Difference(name, ", ".join(key), "a line", "none"))
            continue
        for column in (column for column in stated.columns if column not in _CODE_TAGS):
            if not _same(row[column], actual.get(column)):
                where = f"{column} of {', '.join(key)}"
                differences.append(Difference(name, where, repr(row[column]), repr(actual.get(column))))
    return differences + [Difference(name, ", ".join(key), "none", "a line") for key in wanted]


def _same(stated: Any, found: Any) -> bool:
    if isinstance(stated, float) and isinstance(found, float):
        return stated == found or math.isclose(stated, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if isinstance(stated, list) and isinstance(found, list):
        return len(stated) == len(found) and all(_same(a, b) for a, b in zip(stated, found, strict=True))
    if isinstance(stated, dict) and isinstance(found, dict):
        return stated.keys() == found.keys() and all(_same(value, found[key]) for key, value in stated.items())
    return bool(stated == found)
