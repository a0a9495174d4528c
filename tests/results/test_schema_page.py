from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from bench.results.schema_page import PAGE, arrow_type, schema_page
from bench.store.drift import DRIFT_COLUMNS
from bench.store.schema import ROW_COLUMNS, TRIAL_COLUMNS


def test_the_page_is_the_code_s() -> None:
    assert PAGE.read_text(encoding="utf-8") == schema_page(), "run: python -m bench.results.schema_page"


def test_every_column_has_one_line_and_a_meaning() -> None:
    lines = re.findall(r"^\| `(\w+)` \| (\S.*?) \| (\S.*) \|$", schema_page(), flags=re.MULTILINE)
    assert [name for name, _, _ in lines] == [column.name for column in (*ROW_COLUMNS, *TRIAL_COLUMNS, *DRIFT_COLUMNS)]


@pytest.mark.parametrize("columns", [ROW_COLUMNS, TRIAL_COLUMNS, DRIFT_COLUMNS], ids=["rows", "trials", "drift"])
def test_types_are_those_in_the_files(columns: tuple, tmp_path: Path) -> None:
    schema = {column.name: column.dtype for column in columns}
    pl.DataFrame(schema=schema).write_parquet(tmp_path / "empty.parquet")
    found = pq.read_schema(tmp_path / "empty.parquet")
    assert {name: arrow_type(dtype) for name, dtype in schema.items()} == {
        field.name: str(field.type) for field in found
    }
