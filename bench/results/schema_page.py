"""docs/schema.md from the schema in the code: `python -m bench.results.schema_page`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl
from polars._typing import PolarsDataType

from bench.results.bundle import BUNDLE_VERSION
from bench.store.drift import DRIFT_COLUMNS
from bench.store.schema import ROW_COLUMNS, SCHEMA_VERSION, TRIAL_COLUMNS, Column

PAGE = Path(__file__).resolve().parents[2] / "docs" / "schema.md"
_ARROW = {
    "Int64": "int64",
    "Float64": "double",
    "Boolean": "bool",
    "String": "large_string",
    "Binary": "large_binary",
    "Datetime": "timestamp[us, tz=UTC]",
}
_PAGE = """# Schema of rows and trials

Generated from `bench/store/schema.py` by `python -m bench.results.schema_page`; a test holds it to the code.
Schema version {version}, bundle version {bundle}.

A store keeps both tables as Parquet fragments in `rows/` and `trials/`; a fragment of an older version lacks columns
that came later, and `bench export` fills them with nulls. Of two rows with one key the settled one counts, then the
older. Where a column holds JSON, it is an object with sorted keys.

## rows

One line is one measured score: a pretraining under a protocol at one label budget, draw, layer and fusion, on the test
split.

{rows}

`correct` holds one bit a test item, the first item in the highest bit of the first byte, in the order of `item` in the
split table where `split` is "test"; spare bits of the last byte are zero.

## trials

One line is one trial of a search.

{trials}

## drift

One line is one block of a network in one noisy setting, as `bench drift` measured it: `drift/KEY.parquet` of the
results, KEY that of the study.

{drift}

## Reading

```python
import polars as pl
rows = pl.read_parquet("export/rows.parquet")

import pandas as pd
rows = pd.read_parquet("export/rows.parquet")

import duckdb
rows = duckdb.sql("SELECT * FROM 'export/rows.parquet'").pl()

import numpy as np  # which test items the first row has right
right = np.unpackbits(np.frombuffer(rows["correct"][0], dtype=np.uint8), count=rows["n_test"][0])
```

```r
rows <- arrow::read_parquet("export/rows.parquet")
```
"""


def schema_page() -> str:
    """The page as Markdown."""
    tables = {"rows": _table(ROW_COLUMNS), "trials": _table(TRIAL_COLUMNS), "drift": _table(DRIFT_COLUMNS)}
    return _PAGE.format(version=SCHEMA_VERSION, bundle=BUNDLE_VERSION, **tables)


def arrow_type(dtype: pl.DataType) -> str:
    """The Arrow type that a column has in Parquet files, as pyarrow and R's arrow call it."""
    if isinstance(dtype, pl.List):
        return f"large_list<element: {arrow_type(_made(dtype.inner))}>"
    if isinstance(dtype, pl.Struct):
        return f"struct<{', '.join(f'{field.name}: {arrow_type(_made(field.dtype))}' for field in dtype.fields)}>"
    return _ARROW[type(dtype).__name__]


def _made(dtype: PolarsDataType) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype


def _table(columns: Iterable[Column]) -> str:
    lines = [f"| `{column.name}` | {arrow_type(column.dtype)} | {_cell(column.meaning)} |" for column in columns]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *lines])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(schema_page(), encoding="utf-8")
