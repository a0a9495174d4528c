"""Verdicts: direction, margin, several parts, Holm, what is missing."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from bench.errors import UserError
from bench.stats.claims import Claim, Part, verdicts

Study = tuple[pl.DataFrame, pl.DataFrame]


def one(study: Study, *parts: Part) -> dict[str, object]:
    return verdicts(*study, [Claim("c", parts)]).row(0, named=True)


@pytest.mark.parametrize("quantity", [{"label_budget": "10"}, {"quantity": "area"}, {"quantity": "labels_saved"}])
def test_direction(study: Study, quantity: dict[str, str]) -> None:
    assert one(study, Part("mae", "pixels", **quantity))["verdict"] == "supported"
    assert one(study, Part("pixels", "mae", **quantity))["verdict"] == "refuted"


def test_margin_of_a_factor(study: Study) -> None:
    def verdict(margin: float) -> object:
        return one(study, Part("mae", "pixels", "labels_saved", margin=margin))["verdict"]

    assert [verdict(1.5), verdict(4.0), verdict(30.0)] == ["supported", "undecided", "undecided"]


def test_margin_of_a_score(study: Study) -> None:
    small = one(study, Part("simclr", "mae", label_budget="50", margin=0.5))
    assert (small["verdict"], small["reason"]) == ("undecided", "smaller than the margin, either way")
    assert small["low"] <= small["effect"] <= small["high"]


def test_undecided_says_what_would_decide(study: Study) -> None:
    rows, items = study
    fewer = rows.filter((pl.col("draw") < 2) & (pl.col("seed").fill_null(0) < 2))
    row = one((fewer, items), Part("simclr", "mae", label_budget="all", margin=0.02))
    assert row["verdict"] == "undecided"
    assert row["seeds_to_decide"] is None or row["seeds_to_decide"] >= 2


def test_two_parts_need_both(study: Study) -> None:
    good, bad = Part("mae", "pixels", "area"), Part("mae", "simclr", "area")
    assert one(study, good, good)["verdict"] == "supported"
    frame = verdicts(*study, [Claim("c", (good, bad))])
    assert frame["verdict"].to_list() == ["refuted"] * 2
    assert frame["part_verdict"].to_list() == ["supported", "refuted"]
    open_part = Part("mae", "pixels", "labels_saved", margin=4.0)
    assert one(study, good, open_part)["verdict"] == "undecided"


def test_missing_ingredients_are_not_testable(study: Study) -> None:
    rows, items = study
    assert one(study, Part("dino", "mae", "area"))["verdict"] == "not testable here"
    assert "dino" in str(one(study, Part("dino", "mae", "area"))["reason"])
    assert "no cell" in str(one(study, Part("mae", "simclr", label_budget="7"))["reason"])
    single = (rows.filter(pl.col("seed").fill_null(0) == 0), items)
    assert "two seeds" in str(one(single, Part("mae", "pixels", "area"))["reason"])
    good = Part("mae", "pixels", "area")
    assert one(study, good, Part("dino", "mae", "area"))["verdict"] == "not testable here"


def test_holm_runs_over_the_testable_claims(study: Study) -> None:
    claims = [Claim(f"c{k}", (Part("mae", "simclr", label_budget=b),)) for k, b in enumerate(("1", "2", "5"))]
    claims.append(Claim("d", (Part("dino", "mae", "area"),)))
    frame = verdicts(*study, claims)
    tested = frame.filter(pl.col("verdict") != "not testable here").sort("p")
    assert len(tested) == 3
    expected = np.minimum(np.maximum.accumulate(tested["p"].to_numpy() * [3, 2, 1]), 1)
    np.testing.assert_allclose(tested["p_holm"], expected)
    alone = verdicts(*study, claims[:1]).row(0, named=True)
    widest = tested.row(0, named=True)
    assert widest["claim"] != "c0" or widest["high"] - widest["low"] > alone["high"] - alone["low"]


def test_verdict_and_interval_agree(study: Study) -> None:
    claims = [
        Claim(f"{b}{m}", (Part("simclr", "mae", label_budget=b, margin=m),))
        for b in ("1", "5", "50")
        for m in (0, 0.03)
    ]
    for row in verdicts(*study, claims).iter_rows(named=True):
        side = "supported" if row["low"] > row["margin"] else "refuted" if row["high"] < -row["margin"] else "undecided"
        assert row["verdict"] == side


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="label_budget"):
        Part("a", "b", "score")
    with pytest.raises(UserError, match="margin"):
        Part("a", "b", "labels_saved", margin=0.5)
    with pytest.raises(UserError, match="speed"):
        Part("a", "b", "speed")  # type: ignore[arg-type]
