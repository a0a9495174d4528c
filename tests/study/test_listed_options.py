"""Options of an entry that may be lists, and features that need no network, in a study."""

from __future__ import annotations

from typing import Any

import pytest

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.expand import expand
from bench.study.load import parse_study
from bench.study.overrides import apply_overrides
from bench.study.plan import build_plan


def shifts(raw: dict[str, Any], **options: Any) -> list[tuple[str, int]]:
    study = parse_study({**raw, "evaluate": [{"protocol": "robustness", "label_budgets": [1], **options}]}, "s")
    assert parse_study(study.as_json(), "s") == study
    return [(entry.shift, entry.severity) for entry in study.evaluate]


def test_a_list_stands_for_an_entry_each(raw: dict[str, Any]) -> None:
    assert shifts(raw, shift=["noise", "jpeg"], severity=[1, 5]) == [
        ("noise", 1),
        ("noise", 5),
        ("jpeg", 1),
        ("jpeg", 5),
    ]
    assert shifts(raw, shift="noise", severity=[2, 2]) == [("noise", 2)]
    assert shifts(raw) == [("blur", 3)]


def test_remedies_of_imbalance_may_be_a_list(raw: dict[str, Any]) -> None:
    raw["evaluate"] = [
        {"protocol": "linear", "imbalance": ["none", "class_weights"]},
        {"protocol": "fusion", "head": "mlp", "partner": "conv_nano", "imbalance": ["none", "focal"]},
        {"protocol": "finetune", "imbalance": ["rare_augmentation", "none"]},
    ]
    found = [entry.imbalance for entry in parse_study(raw, "s").evaluate]
    assert found == ["none", "class_weights", "none", "focal", "rare_augmentation", "none"]
    raw["evaluate"] = [{"protocol": "linear", "imbalance": ["none", "focal"]}]
    with pytest.raises(UserError, match="'focal' cannot be used by the exact head of linear"):
        parse_study(raw, "s")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shift": []}, r"evaluate\.0\.shift: name at least one value"),
        ({"shift": ["noise", "fog"]}, "fog"),
        ({"severity": [1, 0]}, "severity"),
        ({"folds": [2, 3]}, "folds"),
    ],
)
def test_what_no_entry_may_have_is_refused(raw: dict[str, Any], options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        shifts(raw, **options)


def test_an_override_may_be_a_list(raw: dict[str, Any]) -> None:
    raw["evaluate"] = [{"protocol": "robustness", "label_budgets": [1]}]
    study = parse_study(apply_overrides(raw, [("evaluate.robustness.severity", [1, 3, 5])]), "s")
    assert [entry.severity for entry in study.evaluate] == [1, 3, 5]


def test_every_shift_and_severity_has_rows_of_its_own(raw: dict[str, Any], record: DataRecord) -> None:
    raw |= {"methods": {"hog": {}}, "scientific": {}, "nuisance": {}}
    raw["evaluate"] = [{"protocol": "robustness", "label_budgets": [1], "draws": 2, "severity": [1, 5]}]
    plan = build_plan(parse_study(raw, "s"), record, {})
    assert len(set(plan.row_keys())) == 4


@pytest.mark.parametrize("name", ["hog", "pca_pixels", "kmeans_patches"])
def test_features_without_a_network_have_one_layer(raw: dict[str, Any], name: str) -> None:
    raw |= {"methods": {name: {}}, "scientific": {}, "nuisance": {}}
    raw["evaluate"] = [{"protocol": "linear", "layers": [name, "last", 1]}]
    (setting,) = expand(parse_study(raw, "s"))
    assert setting.options.encoder_name == name
    raw["evaluate"] = [{"protocol": "linear", "layers": ["block1"]}]
    with pytest.raises(UserError, match=f"unknown layer 'block1'; valid: last, {name}"):
        parse_study(raw, "s")


@pytest.mark.parametrize("options", [{"hog": {"cell_size": 5}}, {"kmeans_patches": {"patch": 8}}])
def test_what_does_not_fit_the_images_is_an_error_of_the_plan(
    raw: dict[str, Any], record: DataRecord, options: dict[str, Any]
) -> None:
    raw |= {"methods": options, "scientific": {}, "nuisance": {}, "evaluate": [{"protocol": "linear"}]}
    raw["evaluate"][0]["label_budgets"] = [1]
    with pytest.raises(UserError, match=f"^{next(iter(options))}"):
        build_plan(parse_study(raw, "s"), record, {})
