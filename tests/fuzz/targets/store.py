"""Fragments of the store: what is damaged is left out, and every row that is read is one that was written."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from bench.store.fragments import Fragments
from bench.store.schema import ROWS
from bench.store.stamps import file_digest, stamp_of
from tests.fuzz.harness import Target
from tests.fuzz.mutate import Rng, bytes_near


def _frame(first: int) -> pl.DataFrame:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    lines = [
        dict.fromkeys(ROWS)
        | {"row_key": f"{number:032x}", "status": "ok", "accuracy": number / 10, "method": "mae", "finished": when}
        for number in range(first, first + 3)
    ]
    return pl.DataFrame(lines, schema=ROWS)


@cache
def _written() -> tuple[str, bytes, pl.DataFrame]:
    """Name and bytes of a fragment, and its rows."""
    with TemporaryDirectory() as folder:
        fragments = Fragments(Path(folder), "rows")
        path = fragments.write(_frame(1))
        return path.name, path.read_bytes(), fragments.scan().collect()


def _fragment(rng: Rng) -> tuple[bool, bytes]:
    """Whether the file keeps a name with the digest of the good one, and its bytes."""
    return bool(rng.random() < 0.7), bytes_near(_written()[1], rng)


def _read(made: tuple[bool, bytes], folder: Path) -> bool:
    named, content = made
    name, good, rows = _written()
    fragments = Fragments(folder, "rows")
    if not fragments.folder.exists():
        fragments.write(_frame(7))
    path = fragments.folder / (name if named else "0123456789abcdef.parquet")
    path.write_bytes(content)
    try:
        found = fragments.scan().collect()
        assert found.schema == ROWS
        fragments.check_readable()
        if not named:  # nothing says what an earlier version's file held
            return path in fragments.files()
        assert stamp_of(name) is not None
        kept = file_digest(path).startswith(str(stamp_of(name)))
        assert kept == (content == good)
        assert found.height == (6 if kept else 3)
        assert found.join(rows, on=list(ROWS), how="semi", nulls_equal=True).height == (3 if kept else 0)
        return kept
    finally:
        os.unlink(path)


FRAGMENT = Target(_fragment, _read, share=2)
