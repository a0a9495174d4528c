"""Test terms that rows bring themselves: leave-one-out scores of metrics without a bitmap."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from bench.stats.jackknife import jackknife
from bench.stats.layout import layout
from bench.stats.stack import compare

BLOCKS = 20
ITEMS = pl.DataFrame({"item": [0, 1], "label": [0, 1], "group": [0, 1]})


def rows(seeds: int = 3, held: bool = True) -> pl.DataFrame:
    """Two entrants that answer the same test blocks; a score is the mean over blocks of what was right in them."""
    numbers = np.random.default_rng(0)
    easy = numbers.normal(0.5, 0.1, BLOCKS)
    found = []
    for entrant, gain in (("a", 0.05), ("b", 0.0)):
        for seed in range(seeds):
            blocks = easy + gain + numbers.normal(0, 0.01, BLOCKS)
            without = [float(np.delete(blocks, block).mean()) for block in range(BLOCKS)]
            details = json.dumps({"confusion": [[1]], "item_jackknife": {"miou": without}} if held else {"x": 1.0})
            found.append({"entrant": entrant, "seed": seed, "draw": 0, "label_budget": "1", "n_labels": 1,
                          "miou": float(blocks.mean()), "details": details, "status": "ok"})  # fmt: skip
    return pl.DataFrame(found)


def difference(frame: pl.DataFrame, items: pl.DataFrame | None = ITEMS) -> tuple[object, str]:
    stack = compare(layout(frame, items, metric="miou"), ["a", "b"])
    assert stack is not None
    a, b = (stack.curves[name].values[:, 0] for name in "ab")
    return jackknife(a - b, stack.factors), stack.mark


def test_the_test_term_is_that_of_the_paired_differences_of_the_blocks() -> None:
    frame = rows()
    estimate, mark = difference(frame)
    without = np.array([json.loads(text)["item_jackknife"]["miou"] for text in frame["details"]]).reshape(2, 3, BLOCKS)
    gaps = without[0].mean(0) - without[1].mean(0)
    assert estimate.terms["test items"] == pytest.approx((BLOCKS - 1) / BLOCKS * ((gaps - gaps.mean()) ** 2).sum())
    alone = jackknife_of("a", frame)
    assert estimate.terms["test items"] < alone / 20  # what is hard for both cancels in the difference
    assert "test set" not in mark


def jackknife_of(entrant: str, frame: pl.DataFrame) -> float:
    stack = compare(layout(frame, ITEMS, metric="miou"), [entrant])
    assert stack is not None
    return float(jackknife(stack.curves[entrant].values[:, 0], stack.factors).terms["test items"])


def test_the_order_of_rows_and_duplicates_change_nothing() -> None:
    frame = rows()
    shuffled = pl.concat([frame, frame[:2]]).sample(fraction=1.0, shuffle=True, seed=3)
    assert difference(shuffled)[0].variance == pytest.approx(difference(frame)[0].variance)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"details": None},
        {"details": json.dumps({"item_jackknife": {"miou": [0.5] * 3}})},
        {"details": json.dumps({"item_jackknife": {}})},
        {"details": json.dumps({"item_jackknife": {"miou": []}})},
    ],
    ids=["none", "other blocks", "another metric", "empty"],
)
def test_where_one_row_lacks_them_there_is_no_test_term(spoilt: dict[str, object]) -> None:
    frame = rows()
    last = pl.DataFrame([{**frame.row(5, named=True), **spoilt}], schema=frame.schema)
    estimate, mark = difference(pl.concat([frame[:5], last]))
    assert "test items" not in estimate.terms
    assert mark.endswith("this test set only")


def test_without_a_split_table_or_a_measured_row_nothing_is_read() -> None:
    assert layout(rows(), None, metric="miou").grouping == "none"
    assert layout(rows(), ITEMS, metric="miou").grouping == "in rows"
    assert layout(rows(held=False), ITEMS, metric="miou").grouping == "none"
    failed = rows().with_columns(status=pl.lit("failed"), details=pl.lit(None, pl.String), seed=pl.col("seed") + 9)
    assert layout(pl.concat([rows(), failed]), ITEMS, metric="miou").grouping == "in rows"
