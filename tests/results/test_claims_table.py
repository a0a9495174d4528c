from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from bench.results.claims import claims_table
from bench.results.opening import Opened
from bench.stats.claims import Claim, Part, verdicts

MASK = {"better": {"mae.mask_ratio": 0.75}, "worse": {"mae.mask_ratio": 0.5}}
AT_TEN = "linear.balanced_accuracy@10"


def ask(opened: Opened, *claims: object, **spec: Any) -> pl.DataFrame:
    assert opened.study is not None
    study = replace(opened.study, spec={**opened.study.spec, "claims": list(claims), **spec})
    return claims_table(replace(opened, study=study))


def test_a_claim_is_put_to_the_statistics(opened: Opened) -> None:
    table = ask(opened, {"name": "more", "metric": AT_TEN, "margin": 0.01, **MASK})
    part = Part("mae[mask_ratio=0.75] + linear", "mae[mask_ratio=0.5] + linear", "score", "10", margin=0.01)
    rows = opened.rows.filter(pl.col("status") == "ok")
    assert table.drop("statement").equals(verdicts(rows, opened.test_items, [Claim("more", (part,))]))
    (statement,) = table["statement"]
    assert statement == (
        "mae[mask_ratio=0.75] beats mae[mask_ratio=0.5] by more than 0.01 in linear balanced accuracy "
        "at 10 labels a class"
    )


def test_without_a_budget_the_area_is_compared(opened: Opened) -> None:
    claim = {"name": "c", "better": {"simclr": None}, "worse": {"pixels": {}}, "metric": "linear.accuracy"}
    (row,) = ask(opened, claim).to_dicts()
    assert (row["quantity"], row["verdict"]) == ("area", "supported")
    assert row["statement"] == "simclr beats pixels in linear accuracy over all budgets"


def test_the_protocol_of_a_side_may_be_named(opened: Opened) -> None:
    worse = {"method": "random_init", "protocol": "finetune"}
    (row,) = ask(opened, {"name": "c", "better": {"simclr": None}, "worse": worse, "metric": AT_TEN}).to_dicts()
    assert row["reason"] == "no cell is common to both entrants"  # budget 10 was not fine-tuned
    (row,) = ask(
        opened, {"name": "c", "better": {"simclr": None}, "worse": worse, "metric": "linear.accuracy@5"}
    ).to_dicts()
    assert (row["better"], row["worse"]) == ("simclr + linear", "random_init + finetune")


def test_an_option_that_is_no_axis_counts(opened: Opened) -> None:
    claim = {"name": "c", "better": {"simclr.epochs": 40}, "worse": {"pixels": None}, "metric": AT_TEN}
    (row,) = ask(opened, claim, methods={"simclr": {"epochs": 40}}).to_dicts()
    assert row["better"] == "simclr + linear"
    (row,) = ask(opened, claim, methods={"simclr": {"epochs": 30}}).to_dicts()
    assert row["verdict"] == "not testable here"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"better": {"mae.mask_ratio": 0.1}}, "better: no rows of mae[mask_ratio=0.1] under linear"),
        ({"better": {"mae": None}}, "better: mae means 2 entrants: mae[mask_ratio=0.5] + linear and"),
        ({"worse": {}}, "worse: names no setting"),
        ({"metric": "whatever"}, "metric 'whatever' is not understood"),
        ({"metric": None}, "metric None is not understood"),
        ({"metric": "linear.miou@10"}, "no row was measured in mean IoU"),
        ({"metric": "linear.reason@10"}, "no row was measured in reason"),
        ({"metric": "knn.accuracy@10"}, "under knn"),
        ({"margin": -1.0}, "margin -1.0"),
    ],
)
def test_what_is_missing_is_named(opened: Opened, change: dict[str, Any], reason: str) -> None:
    (row,) = ask(opened, {"name": "c", "metric": AT_TEN, **MASK} | change).to_dicts()
    assert row["verdict"] == "not testable here"
    assert reason in row["reason"]


def test_no_claims_are_an_empty_table(opened: Opened) -> None:
    assert ask(opened).is_empty()
    assert claims_table(replace(opened, study=None)).is_empty()


def test_odd_claims_do_no_harm(opened: Opened) -> None:
    good = {"name": "c", "metric": AT_TEN, **MASK}
    table = ask(opened, good, good, "nonsense", {"name": "x"})
    assert table["claim"].to_list() == ["c", "c (2)", "claim 3", "x"]
    assert table["verdict"].to_list()[2:] == ["not testable here"] * 2
