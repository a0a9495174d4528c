"""Claims in a study file: what they may say, and that a name which is none is refused when the study is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from bench.errors import UserError
from bench.study.claims import comparisons
from bench.study.load import parse_study
from bench.study.spec import Study

SIDES = {"better": {"mae.mask_ratio": 0.75}, "worse": {"pixels": None}}


def study(*claims: dict[str, Any]) -> Study:
    raw = {
        "study": "s",
        "data": {"name": "digits"},
        "methods": {"mae": {}, "pixels": {}},
        "evaluate": [{"protocol": "linear"}],
        "claims": [{"name": "c", **claim} for claim in claims],
    }
    return parse_study(raw, "s.yaml")


@pytest.mark.parametrize(
    "claim",
    [
        SIDES,
        SIDES | {"metric": "fusion.miou", "two_sided": True},
        SIDES | {"metric": "finetune.labels_saved", "margin": 1.5},
        SIDES | {"quantity": "labels_saved"},
        {"better": {"mae": None}, "all": [{"worse": {"pixels": None}}, {"worse": {"method": "random_init"}}]},
        SIDES | {"for_each": {"mae.encoder": ["vit_nano", "vit_tiny"], "layer": ["last"]}},
        SIDES | {"better": {"mae": {}, "protocol": "fusion", "fuse": "concat", "fusion.partner_seed": 1}},
        {"not_testable": "needs a thousand patients"},
    ],
)
def test_what_a_claim_may_say(claim: dict[str, Any]) -> None:
    asked = study(claim)
    again = parse_study(asked.as_json(), "again")
    assert again.as_json() == asked.as_json()
    assert [comparisons(item.model_dump()) for item in again.claims] == [
        comparisons(item.model_dump()) for item in asked.claims
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"better": {"mea": None}}, "claim 'c': better: unknown key 'mea' .did you mean 'mae'"),
        ({"better": {"mae.mask_ration": 0.5}}, "better.mae: unknown option 'mask_ration' .did you mean 'mask_ratio'"),
        ({"better": {"method": "mea"}}, "better.method: unknown method 'mea'"),
        ({"better": {"mae": None, "pixels": None}}, "better: names several methods .mae, pixels."),
        ({"better": {"mae": 3}}, "better.mae: 3 is not understood; write mae.OPTION: VALUE"),
        ({"better": {"mae": None, "protocol": "linaer"}}, "better.protocol: unknown protocol 'linaer'"),
        ({"better": {"mae": None, "fusion.partner": "x"}}, "judged by linear; write protocol: fusion"),
        ({"better": {"mae": None, "linear.c_defualt": 1}}, "unknown option 'c_defualt' .did you mean 'c_default'"),
        ({"better": {"mae": None, "linear.draws": 5}}, "unknown option 'draws'"),
        ({"better": {"mae": None, "folds": 3}}, "better.folds: an option .* is written with its name: linear.folds"),
        ({"better": {"mae": None, "bananas": 1}}, "better: unknown key 'bananas'"),
        ({"metric": "linaer.accuracy@10"}, "metric: unknown protocol 'linaer'"),
        ({"metric": "linear.acuracy@10"}, "metric: unknown metric 'acuracy' .did you mean 'accuracy'"),
        ({"metric": "linear"}, "metric 'linear' is not understood; valid: PROTOCOL.METRIC@LABELS"),
        ({"metric": "linear.labels_saved@10"}, "labels saved is taken over all budgets"),
        ({"metric": "linear.accuracy@10", "quantity": "labels_saved"}, "leave out @10"),
        ({"metric": "linear.labels_saved", "margin": 0.1}, "margin 0.1: of labels saved it is a factor, at least 1"),
        ({"better": None}, "claim 'c': better is missing"),
        ({"all": [{"worse": {}}]}, "claim 'c': worse is missing"),
        ({"all": [{"worze": {}}]}, r"claims\.0\.all\.0\.worze: unknown key"),
        ({"for_each": {"layer": [1], "mae.mask": [2]}}, "better.mae: unknown option 'mask'"),
        ({"for_each": {"layer": []}}, "claim 'c': for_each.layer: a non-empty list of values is needed"),
        ({"margin": -1}, r"claims\.0\.margin: "),
    ],
)
def test_a_name_that_is_none_is_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        study(SIDES | change)
    assert str(caught.value).count("\n") == 0


def test_parts_take_what_they_do_not_say() -> None:
    claim = SIDES | {"metric": "linear.accuracy", "margin": 0.1, "all": [{"margin": 0.0}, {"worse": {"timm": None}}]}
    (first, second) = comparisons(claim)
    assert first == {**SIDES, "metric": "linear.accuracy", "margin": 0.0}
    assert second == {"better": SIDES["better"], "worse": {"timm": None}, "metric": "linear.accuracy", "margin": 0.1}


def test_for_each_reaches_the_sides_it_is_about() -> None:
    points = comparisons(SIDES | {"for_each": {"mae.encoder": ["a", "b"], "layer": ["last"]}})
    assert [part["better"] for part in points] == [
        {"mae.mask_ratio": 0.75, "mae.encoder": encoder, "layer": "last"} for encoder in ("a", "b")
    ]
    assert [part["worse"] for part in points] == [{"pixels": None, "layer": "last"}] * 2
