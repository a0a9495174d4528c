from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from bench.results.claim_words import claim_lines, effect_text
from bench.results.claims import claims_table
from bench.results.opening import Opened
from bench.stats.claims import Claim, Part, verdicts
from bench.study.methods import METHODS

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
    assert table.drop("statement", "part_statement").equals(verdicts(rows, opened.test_items, [Claim("more", (part,))]))
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
    table = ask(opened, good, good, "nonsense", {"name": "x"}, {"name": "y", "all": 3, "for_each": {"layer": []}})
    assert table["claim"].to_list() == ["c", "c (2)", "claim 3", "x", "y"]
    assert table["verdict"].to_list()[2:] == ["not testable here"] * 3


def test_all_parts_must_hold_and_take_what_the_claim_says(opened: Opened) -> None:
    claim = {"name": "c", "metric": "linear.accuracy", "better": {"simclr": None}, "margin": 0.01}
    parts = [{"worse": {"pixels": None}}, {"worse": {"mae.mask_ratio": 0.75}, "margin": 0.9}]
    table = ask(opened, claim | {"all": parts})
    assert table["verdict"].to_list() == ["undecided"] * 2
    assert table["part_verdict"].to_list() == ["supported", "undecided"]
    assert table["margin"].to_list() == [0.01, 0.9]
    assert table["statement"][0] == (
        "simclr beats pixels by more than 0.01 in linear accuracy over all budgets; and "
        "simclr beats mae[mask_ratio=0.75] by more than 0.9 in linear accuracy over all budgets"
    )
    both = ask(opened, claim | {"all": parts[:1] * 2})
    assert set(both["verdict"]) == {"supported"}
    (row,) = ask(opened, claim | {"all": [parts[0], {"worse": {"knn": None}}]}).to_dicts()
    assert (row["verdict"], row["reason"]) == ("not testable here", "worse: no rows of knn under linear")


def test_for_each_is_a_part_for_every_value(opened: Opened) -> None:
    claim = {"name": "c", "metric": "linear.accuracy", "better": {"mae": None}, "worse": {"pixels": None}}
    table = ask(opened, claim | {"for_each": {"mae.mask_ratio": [0.5, 0.75]}})
    assert table["better"].to_list() == ["mae[mask_ratio=0.5] + linear", "mae[mask_ratio=0.75] + linear"]
    assert set(table["worse"]) == {"pixels + linear"}


def test_two_sides_may_differ_either_way(opened: Opened) -> None:
    claim = {"name": "c", "metric": "linear.accuracy", "two_sided": True}
    sides = {"better": {"pixels": None}, "worse": {"simclr": None}}
    (row,) = ask(opened, claim | sides).to_dicts()
    assert row["verdict"] == "supported"
    assert row["effect"] < 0
    assert row["statement"] == "pixels and simclr differ in linear accuracy over all budgets"
    (row,) = ask(opened, claim | sides | {"margin": 0.9}).to_dicts()
    assert row["verdict"] == "refuted"  # the interval lies within the margin


@pytest.mark.parametrize("asked", [{"metric": "linear.labels_saved"}, {"quantity": "labels_saved"}])
def test_labels_saved_is_a_factor(opened: Opened, asked: dict[str, str]) -> None:
    claim = {"name": "c", "metric": AT_TEN, "better": {"simclr": None}, "worse": {"pixels": None}, "margin": 1.2}
    (row,) = ask(opened, claim | asked).to_dicts()
    assert (row["quantity"], row["verdict"], row["margin"]) == ("labels_saved", "supported", pytest.approx(1.2))
    assert row["low"] > 1.2
    assert (
        row["statement"] == "simclr needs more than 1.2× fewer labels than pixels for the same linear balanced accuracy"
    )
    assert effect_text(row).startswith(f"The factor of labels saved is {row['effect']:.1f}× (")


def with_options(opened: Opened) -> Opened:
    """Two fusions of one method, told apart by an option of the protocol alone."""
    rows = opened.rows.filter(pl.col("method") == "simclr", pl.col("protocol") == "linear")
    pair = [
        rows.with_columns(
            pl.lit("fusion").alias("protocol"),
            pl.lit(json.dumps({"folds": folds, "c_grid": [1.0, 2.0]})).alias("protocol_options"),
            pl.lit("concat").alias("fuse"),
            pl.lit(f"simclr + fusion[folds={folds}] (concat)").alias("entrant"),
        )
        for folds in (3, 5)
    ]
    return replace(opened, rows=pl.concat([opened.rows, *pair]))


def test_a_side_may_name_options_of_its_protocol(opened: Opened) -> None:
    claim = {
        "name": "c",
        "metric": "linear.accuracy",
        "better": {
            "simclr": None,
            "protocol": "fusion",
            "fuse": "concat",
            "fusion.folds": 3,
            "fusion.c_grid": (1.0, 2.0),
        },
        "worse": {"simclr": None, "protocol": "fusion", "fusion.folds": 5},
    }
    (row,) = ask(with_options(opened), claim).to_dicts()
    assert row["better"] == "simclr + fusion[folds=3] (concat)"
    assert row["worse"] == "simclr + fusion[folds=5] (concat)"
    (row,) = ask(with_options(opened), claim | {"worse": {"simclr": None, "protocol": "fusion"}}).to_dicts()
    assert "means 2 entrants" in row["reason"]
    (row,) = ask(with_options(opened), claim | {"worse": {"pixels": None, "fusion.folds": 5}}).to_dicts()
    assert row["verdict"] == "not testable here"


def test_a_default_counts(opened: Opened) -> None:
    claim = {"name": "c", "better": {"simclr.temperature": 0.2}, "worse": {"pixels": None}, "metric": AT_TEN}
    default = METHODS["simclr"].model_fields["temperature"].default
    (row,) = ask(opened, claim | {"better": {"simclr.temperature": default}}).to_dicts()
    assert row["better"] == "simclr + linear"
    (row,) = ask(opened, claim | {"better": {"simclr.temperature": default + 0.01}}).to_dicts()
    assert row["verdict"] == "not testable here"


def test_a_study_may_say_why_it_cannot_test(opened: Opened) -> None:
    (row,) = ask(opened, {"name": "c", "not_testable": "needs clinical images."}).to_dicts()
    assert (row["verdict"], row["reason"], row["statement"]) == ("not testable here", "needs clinical images", "")
    assert effect_text(row) == "It cannot be tested here: needs clinical images."
    (row,) = ask(opened, {"name": "c", "metric": AT_TEN, "not_testable": "why", **MASK}).to_dicts()
    assert row["statement"].startswith("mae[mask_ratio=0.75] beats")


def test_the_terminal_has_a_line_a_claim(opened: Opened) -> None:
    one = {"name": "one", "metric": AT_TEN, **MASK}
    two = {"name": "two", "metric": AT_TEN, "all": [MASK, {"better": {"simclr": None}, "worse": {"pixels": None}}]}
    table = ask(opened, one, two, {"name": "three", "not_testable": "why"})
    lines = claim_lines(table)
    assert len(lines) == 2 + 3 + 2
    assert lines[0] == f"{table['verdict'][0]}: one"
    assert lines[1].startswith("  The difference is +0.")
    assert lines[4].startswith("  simclr + linear against pixels + linear, supported: the difference is +0.")
    assert lines[-2:] == ["not testable here: three", "  It cannot be tested here: why."]
    assert claim_lines(ask(opened)) == []
