from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from bench.results.money import amount_text, cost_text
from bench.results.opening import Opened
from bench.results.palette import styles
from bench.results.returns import Prices, compute_hours, labels_to_target, returns
from bench.results.run_figures import cost_figure
from bench.stats.curves import curves

METRIC = "balanced_accuracy"


def cost(opened: Opened, target: float, label: float = 0.1, hour: float = 2.0) -> pl.DataFrame:
    asked = {"target": target, "prices": Prices(label, hour), "reference": opened.reference, "metric": METRIC}
    return returns(opened.scored(METRIC), opened.test_items, **asked)


def test_labels_at_a_measured_score_are_the_budget(opened: Opened) -> None:
    scored = opened.scored(METRIC)
    points = curves(scored, opened.test_items, metric=METRIC).filter(pl.col("entrant") == "simclr + linear")
    for row in points.sort("n_labels").to_dicts()[1:-1]:
        found = labels_to_target(scored, opened.test_items, target=row["score"], metric=METRIC)
        (line,) = found.filter(pl.col("entrant") == "simclr + linear").to_dicts()
        assert line["labels"] == pytest.approx(row["n_labels"], rel=0.01)
        assert line["labels_low"] <= line["labels"] <= line["labels_high"]


def test_a_target_out_of_reach_is_a_bound(opened: Opened) -> None:
    scored = opened.scored(METRIC).filter(pl.col("method").is_in(["pixels", "random_init"]))
    high = labels_to_target(scored, opened.test_items, target=0.999, metric=METRIC)
    assert set(high["censored"]) == {">="}
    assert np.isinf(high["labels_high"].to_numpy()).all()
    assert high["labels"].max() == pytest.approx(10_000)
    low = labels_to_target(scored, opened.test_items, target=0.03, metric=METRIC)
    assert set(low["censored"]) == {"<="}
    assert set(low["labels_low"]) == {0.0}


def test_the_cost_is_labels_and_compute_at_the_readers_prices(opened: Opened) -> None:
    table = cost(opened, 0.75)
    for row in table.iter_rows(named=True):
        assert row["cost"] == pytest.approx(row["labels"] * 0.1 + row["hours"] * 2.0)
    reached = table.filter(pl.col("censored") != ">=")
    assert reached["cost"].is_sorted()
    free = cost(opened, 0.75, label=0.0, hour=0.0)
    assert set(free["cost"]) == {0.0}


def test_break_even_is_the_price_at_which_both_cost_the_same(opened: Opened) -> None:
    (even,) = cost(opened, 0.75).filter(pl.col("entrant") == "simclr + linear")["break_even"]
    table = cost(opened, 0.75, label=even)
    (own,) = table.filter(pl.col("entrant") == "simclr + linear")["cost"]
    best = table.filter("is_reference", pl.col("censored") == "")["cost"].min()
    assert own == pytest.approx(best, rel=1e-3)


def test_break_even_says_why_it_is_not(opened: Opened) -> None:
    reasons = dict(cost(opened, 0.9).select("entrant", "break_even_reason").iter_rows())
    assert reasons["random_init + linear"] in ("does not reach the target", "saves no labels at this target")
    assert reasons["pixels + linear"] is None  # the reference itself
    alone = returns(opened.scored(METRIC), None, target=0.75, prices=Prices(1, 1), reference=(), metric=METRIC)
    assert set(alone["break_even_reason"]) == {"no reference entrant has rows"}


def test_hours_are_of_one_seed_and_its_search_times_the_gpus() -> None:
    rows = pl.DataFrame(
        {
            "entrant": ["a", "a", "b", "c"],
            "seed": [0, 1, 0, None],
            "pretrain_seconds": [3600.0, 7200.0, 3600.0, 0.0],
            "gpu_seconds": [0.0, 0.0, 7200.0, 0.0],
            "search_seconds": [1800.0, 1800.0, 1800.0, None],
        }
    )
    assert dict(compute_hours(rows).iter_rows()) == {"a": 2.0, "b": 3.0, "c": 0.0}


@pytest.mark.parametrize(
    ("value", "text"),
    [(12_400, "12,400"), (58.2, "58.20"), (0.05, "0.05"), (0.0005, "0.0005"), (0.0, "0.00"), (1e-6, "1.0e-06")],
)
def test_amounts(value: float, text: str) -> None:
    assert amount_text(value) == text


def test_amounts_with_intervals() -> None:
    assert cost_text(5, 4, 6) == "5.00 (4.00 to 6.00)"
    assert cost_text(5, 4, math.inf) == "5.00 (from 4.00)"
    assert cost_text(5, 0, 6, "<=") == "≤ 5.00 (up to 6.00)"
    assert cost_text(5, None, None) == "5.00"
    assert cost_text(None, 1, 2) == "-"


def test_the_figure_has_a_point_for_each(opened: Opened) -> None:
    table = cost(opened, 0.75).filter(pl.col("censored") != ">=")
    figure = cost_figure(table, styles(table["entrant"].to_list(), opened.reference))
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert [point.name for point in points] == table["entrant"].to_list()
