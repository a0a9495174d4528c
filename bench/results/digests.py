"""Digests of a bundle: of each file, of each row and trial, and one of the whole to cite."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

_SHORT = 16  # hex digits of a part's digest: it says which part changed, the file's says that none did


def file_digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def whole_digest(files: Mapping[str, str]) -> str:
    """SHA-256 of the names and digests of files, 64 hex digits: what a citation names."""
    return hashlib.sha256(_canonical(dict(files))).hexdigest()


def line_digests(table: pl.DataFrame, identity: Sequence[str]) -> dict[str, str]:
    """The digest of every line of a table, by its key (several columns are joined by `:`)."""
    return {":".join(str(row[name]) for name in identity): value_digest(row) for row in table.iter_rows(named=True)}


def value_digest(value: Any) -> str:
    """A digest of JSON-like data, dates and bytes included, 16 hex digits."""
    return hashlib.sha256(_canonical(value)).hexdigest()[:_SHORT]


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no canonical form")
