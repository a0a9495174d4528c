"""The list of scores and the schema say the same."""

from __future__ import annotations

import polars as pl

from bench.store.metrics import SCORES
from bench.store.schema import ROWS


def test_every_score_is_a_column_and_none_is_missing() -> None:
    names = list(ROWS)
    between = names[names.index("accuracy") : names.index("exact_ratio") + 1]
    assert list(SCORES) == between
    assert {ROWS[name] for name in SCORES} == {pl.Float64()}
