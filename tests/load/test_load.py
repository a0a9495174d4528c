"""A corner of the load tests, and that they can fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.load.measures import memory_mb, percentiles
from tests.load.store import BAD, ROWS_EACH, fragment, wrong

ROOT = Path(__file__).parents[2]


def test_four_writers_two_readers_and_a_compaction_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.load", "--json", str(tmp_path / "found.json"), "store"]
    few = ["--writers", "4", "--readers", "2", "--seconds", "3", "--write-pause", "0.05", "--compact-every", "1"]
    done = subprocess.run([*command, *few], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert all(found[name] == 0 for name in BAD)
    assert found["rows"] == ROWS_EACH * found["fragments"] > 0
    assert found["seconds of a read"]["count"] > 0 < found["seconds of a write"]["p50"]


def test_rows_that_are_lost_half_read_or_changed_are_counted() -> None:
    rows = pl.concat([fragment("writer0", 0), fragment("writer0", 1)])
    assert wrong(rows, {"writer0": 2}) == []
    assert wrong(rows, {"writer0": 3}) == ["writer0-2: written, and not read"]
    assert wrong(rows[:-1], {"writer0": 2}) == [f"writer0-1: {ROWS_EACH - 1} rows of {ROWS_EACH}"]
    changed = rows.with_columns(accuracy=pl.when(pl.int_range(pl.len()) == 5).then(0.25).otherwise("accuracy"))
    assert wrong(changed, {"writer0": 2}) == ["writer0-0-5: other values than were written"]


def test_percentiles_and_memory() -> None:
    assert percentiles([]) == {"count": 0}
    assert percentiles([float(second) for second in range(101)]) == {"count": 101, "p50": 50, "p99": 99, "most": 100}
    assert memory_mb() == pytest.approx(memory_mb("self"), rel=0.5)
