"""Checking a bundle: digests of files, rows and trials, scores from the bitmaps, aggregates from the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
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
    LINE_KEYS,
    README_FILE,
    ROWS_FILE,
    SPLITS_FILE,
    STUDY_FILE,
)
from bench.results.bundle_page import bundle_page
from bench.results.digests import file_digest, line_digests, value_digest, whole_digest
from bench.results.leaderboard import make_board
from bench.results.opening import assemble, parse_study, read_items
from bench.store.files import read_json

TOLERANCE = 1e-9  # relative and absolute: sums may be taken in another order
_CODE_TAGS = ("tags", "reason")  # they compare with the code of the day, not with the rows
_ABSENT = "none"
_INDEX = {"files", "parts", "digest", "metric", "level", "bundle_version"}
_BROKEN = (UserError, pl.exceptions.PolarsError, OSError, ValueError, TypeError, KeyError)


@dataclass(frozen=True)
class Difference:
    """One thing that is not as the bundle says: the file, the line in it, and both values."""

    file: str
    where: str
    stated: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: stated {self.stated}, found {self.found}"


def verified(bundle: Path) -> tuple[bool, list[str]]:
    """Whether a bundle is what it says, and that in words: one line, or one for each difference.

    Raises:
        UserError: as `verify`.
    """
    differences = verify(bundle)
    if differences:
        return False, [f"{bundle}: {len(differences)} differences", *map(str, differences)]
    index = read_index(bundle)
    rows = len(index["parts"][ROWS_FILE])
    said = [f"{bundle}: as stated, {rows:,} rows and all numbers made from them; digest {index['digest']}"]
    if index["bundle_version"] < BUNDLE_VERSION:
        said.append(f"{README_FILE} is of bundle version {index['bundle_version']}: by its digest alone")
    return True, said


def read_index(bundle: Path) -> dict[str, Any]:
    """The index of a bundle.

    Raises:
        UserError: the folder is no bundle, or of a newer version.
    """
    index = read_json(bundle / INDEX_FILE)
    if not isinstance(index, dict) or not index.keys() >= _INDEX:
        raise UserError(
            f"{bundle}: not a bundle (no readable {INDEX_FILE}); make one with: bench export --format bundle"
        )
    if index["bundle_version"] > BUNDLE_VERSION:
        raise UserError(f"{bundle}: written as bundle version {index['bundle_version']}, this reads {BUNDLE_VERSION}")
    return index


def verify(bundle: Path) -> list[Difference]:
    """Recomputes a bundle and returns what differs; empty when everything agrees.

    Raises:
        UserError: the folder is no bundle, or of a newer version.
    """
    index = read_index(bundle)
    differences = _digests(bundle, index)
    for name, parts in index["parts"].items():
        differences += _parts(bundle / Path(name).name, parts)
    try:
        return differences + _recomputed(bundle, index)
    except _BROKEN as error:
        return [*differences, Difference(BOARD_FILE, "recomputed", "readable rows", _why(error))]


def _digests(bundle: Path, index: Mapping[str, Any]) -> list[Difference]:
    found = []
    for name, stated in index["files"].items():
        path = bundle / Path(name).name
        actual = file_digest(path) if path.is_file() else "no such file"
        if actual != stated:
            found.append(Difference(name, "SHA-256", stated, actual))
    whole = whole_digest({name: digest for name, digest in index["files"].items() if name != README_FILE})
    return found + ([Difference(INDEX_FILE, "digest", index["digest"], whole)] if whole != index["digest"] else [])


def _parts(path: Path, stated: Mapping[str, str]) -> list[Difference]:
    """The lines of a table, or the keys of a JSON file, that are not those of the index."""
    try:
        if path.name in LINE_KEYS:
            found = line_digests(pl.read_parquet(path), LINE_KEYS[path.name])
        else:
            found = {key: value_digest(value) for key, value in (read_json(path) or {}).items()}
    except _BROKEN as error:
        return [Difference(path.name, "read", "a readable file", _why(error))]
    noun = ", ".join(LINE_KEYS.get(path.name, ("key",)))
    names = [name for name in (*stated, *(found.keys() - stated.keys())) if stated.get(name) != found.get(name)]
    return [Difference(path.name, f"{noun} {n}", stated.get(n, _ABSENT), found.get(n, _ABSENT)) for n in names]


def _recomputed(bundle: Path, index: Mapping[str, Any]) -> list[Difference]:
    rows = pl.read_parquet(bundle / ROWS_FILE)
    items = read_items(bundle / SPLITS_FILE)
    manifest = read_json(bundle / STUDY_FILE)
    study = parse_study(manifest) if isinstance(manifest, dict) and "study_key" in manifest else None
    differences = _row_scores(rows, items)
    opened = assemble(rows, items, study)
    board = make_board(opened, metric=index["metric"], level=index["level"])
    for name, table, keys in (
        (BOARD_FILE, board.frame, ["entrant"]),
        (CURVES_FILE, board.curves, ["entrant", "label_budget"]),
    ):
        differences += _tables(name, pl.read_parquet(bundle / name), table, keys)
    if index["bundle_version"] < BUNDLE_VERSION:
        return differences  # its page is in words of its day; its digest was checked
    page = bundle_page(opened, board, rows, index["digest"])
    return differences + _page((bundle / README_FILE).read_text(encoding="utf-8"), page)


def _page(stated: str, found: str) -> list[Difference]:
    """The lines of the page that the rows do not give again."""
    pairs = zip_longest(stated.splitlines(), found.splitlines(), fillvalue=_ABSENT)
    return [
        Difference(README_FILE, f"line {number}", repr(before), repr(after))
        for number, (before, after) in enumerate(pairs, start=1)
        if before != after
    ]


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
            differences.append(Difference(name, ", ".join(key), "a line", _ABSENT))
            continue
        for column in (column for column in stated.columns if column not in _CODE_TAGS):
            if not _same(row[column], actual.get(column)):
                where = f"{column} of {', '.join(key)}"
                differences.append(Difference(name, where, repr(row[column]), repr(actual.get(column))))
    return differences + [Difference(name, ", ".join(key), _ABSENT, "a line") for key in wanted]


def _same(stated: Any, found: Any) -> bool:
    if isinstance(stated, float) and isinstance(found, float):
        return stated == found or math.isclose(stated, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    if isinstance(stated, list) and isinstance(found, list):
        return len(stated) == len(found) and all(_same(a, b) for a, b in zip(stated, found, strict=True))
    if isinstance(stated, dict) and isinstance(found, dict):
        return stated.keys() == found.keys() and all(_same(value, found[key]) for key, value in stated.items())
    return bool(stated == found)


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'broken'}"
