"""Curves and areas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from scipy import stats

from bench.stats.curves import area, curves

Study = tuple[pl.DataFrame, pl.DataFrame]
BARE = {"entrant": "m", "draw": 0, "label_budget": "all", "n_labels": 100}


def test_scores_are_means_over_seeds_and_draws(study: Study) -> None:
    rows, items = study
    got = (
        curves(rows, items, metric="accuracy")
        .select("entrant", "label_budget", "score")
        .sort("entrant", "label_budget")
    )
    expected = rows.group_by("entrant", "label_budget").agg(pl.col("accuracy").mean()).sort("entrant", "label_budget")
    np.testing.assert_allclose(got["score"], expected["accuracy"])


def test_seeds_alone_give_the_t_interval() -> None:
    scores = [0.31, 0.35, 0.29, 0.36, 0.33]
    rows = pl.DataFrame([BARE | {"seed": s, "miou": v} for s, v in enumerate(scores)])
    row = curves(rows, None, metric="miou").row(0, named=True)
    assert (row["low"], row["high"]) == pytest.approx(stats.t.interval(0.95, 4, np.mean(scores), stats.sem(scores)))
    assert (row["n_seeds"], row["n_draws"], row["mark"]) == (5, 1, "this test set only")


@pytest.mark.parametrize(
    ("seeds", "draws", "with_items", "mark"),
    [
        ([0], 4, True, "one seed"),
        (range(3), 4, True, "few seeds"),
        (range(5), 4, True, ""),
        ([None], 4, True, ""),
        ([None], 1, True, "one draw"),
        (range(3), 4, False, "few seeds, this test set only"),
    ],
)
def test_marks(
    rows_of: Callable[..., pl.DataFrame],
    items_of: Callable[..., pl.DataFrame],
    seeds: list[int | None],
    draws: int,
    with_items: bool,
    mark: str,
) -> None:
    rows = rows_of({"m": 1}, seeds={"m": seeds}, draws=draws, budgets=["5"])
    assert curves(rows, items_of() if with_items else None, metric="accuracy")["mark"].to_list() == [mark]


def test_an_interval_without_replicates_is_null() -> None:
    row = curves(pl.DataFrame([BARE | {"seed": 0, "miou": 0.4}]), None, metric="miou").row(0, named=True)
    assert (row["low"], row["high"]) == (None, None)


def test_interval_stays_in_the_range_of_shares() -> None:
    rows = pl.DataFrame([BARE | {"seed": s, "miou": v} for s, v in enumerate([1.0, 0.7])])
    row = curves(rows, None, metric="miou").row(0, named=True)
    assert 0 <= row["low"] < row["high"] <= 1


def test_area_of_a_line_is_its_middle() -> None:
    rows = pl.DataFrame(
        [BARE | {"seed": 0, "label_budget": str(n), "n_labels": n, "miou": 0.1 + 0.1 * np.log2(n)} for n in (1, 4, 64)]
    )
    row = area(rows, None, metric="miou").row(0, named=True)
    assert row["area"] == pytest.approx(0.4)
    assert (row["first_labels"], row["last_labels"]) == (1, 64)


def test_area_without_a_complete_cell_is_null() -> None:
    rows = pl.DataFrame(
        [BARE | {"seed": s, "label_budget": str(n), "n_labels": n, "miou": 0.5} for s, n in enumerate((1, 4))]
    )
    assert area(rows, None, metric="miou")["area"].to_list() == [None]
    assert curves(rows, None, metric="miou")["score"].to_list() == [0.5, 0.5]
