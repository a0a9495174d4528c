"""Recall of each class: which classes an entrant finds, and which it misses, at one label budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from bench.results.opening import Opened, read_rows

_COUNTS = ("class_counts", "class_correct")
RECALL = {
    "entrant": pl.String(),
    "class": pl.Int64(),
    "name": pl.String(),
    "pool": pl.Int64(),
    "n_test": pl.Int64(),
    "recall": pl.Float64(),
}


def class_recall(root: Path, opened: Opened, budget: str) -> pl.DataFrame:
    """Recall of every entrant in every class at one label budget, the mean over its seeds and draws.

    Args:
        root: the results root: the counts of the classes are read only here.
        budget: "1", ..., "all".

    Returns:
        entrant, class (number), name, pool (images of the class to train on; null where unknown), n_test (test images
        of the class), recall. Classes without a test image are left out; no lines where no row counted its classes.

    Raises:
        UserError: the rows cannot be read.
    """
    wanted = opened.rows.filter(pl.col("status") == "ok", pl.col("label_budget") == budget).select("row_key", "entrant")
    counted = read_rows(root, opened.study, ["row_key", *_COUNTS]).drop_nulls()
    sizes = pl.col("class_counts").list.len()
    rows = wanted.join(counted, on="row_key").filter(sizes > 0, sizes == pl.col("class_correct").list.len())
    lines = rows.with_columns(pl.int_ranges(sizes).alias("class")).explode("class", *_COUNTS)
    lines = lines.filter(pl.col("class_counts") > 0)
    recall = (pl.col("class_correct") / pl.col("class_counts")).mean().alias("recall")
    means = lines.group_by("entrant", "class").agg(recall, pl.col("class_counts").max().alias("n_test"))
    data = opened.study.data if opened.study else {}
    records = [row | _class(data, row["class"]) for row in means.sort("entrant", "class").iter_rows(named=True)]
    return pl.DataFrame(records, schema=RECALL)


def _class(data: Any, place: int) -> dict[str, Any]:
    """Name and training images of a class, as far as the study's data record knows them."""
    names, pool = data.get("class_names") or (), data.get("pool_counts") or ()
    return {
        "name": str(names[place]) if place < len(names) else f"class {place}",
        "pool": int(pool[place]) if place < len(pool) else None,
    }
