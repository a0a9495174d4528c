from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study import versions
from bench.study.load import load_study, parse_study
from bench.study.methods import METHODS
from bench.study.plan import Plan, Search, TrialRecord, build_plan, study_key
from bench.study.protocols import PROTOCOLS

LRS = (1e-4, 1e-3, 1e-2)


def plan_of(raw: dict[str, Any], record: DataRecord, values: tuple[float | None, ...] = ()) -> Plan:
    study = parse_study(raw, "test")
    searches = build_plan(study, record, {}).searches
    trials = tuple(
        TrialRecord(number, {"lr": LRS[number]}, value, "complete" if value is not None else "diverged", 2.0)
        for number, value in enumerate(values)
    )
    return build_plan(study, record, {search.key: trials for search in searches})


def test_counts(raw: dict[str, Any], record: DataRecord) -> None:
    before = plan_of(raw, record)
    assert [search.missing for search in before.searches] == [(0, 1, 2), (0, 1, 2)]
    assert [item.label for item in before.pretrainings] == ["pixels", "random_init seed 0", "random_init seed 1"]
    after = plan_of(raw, record, (0.3, 0.5, 0.4))
    assert len(after.pretrainings) == 3 + 2 * 2
    # linear: 1 and 10 have two draws, all has one; pixels has one layer, the transformers two
    assert len(after.row_keys()) == 1 * (5 + 2) + 6 * 2 * 5
    assert len(set(after.row_keys())) == len(after.row_keys())


def test_the_plan_is_reproducible(raw: dict[str, Any], record: DataRecord) -> None:
    assert plan_of(raw, record, (0.3, 0.5, 0.4)).row_keys() == plan_of(raw, record, (0.3, 0.5, 0.4)).row_keys()


def test_adding_a_budget_adds_only_its_rows(raw: dict[str, Any], record: DataRecord) -> None:
    before = plan_of(raw, record, (0.3, 0.5, 0.4))
    raw["evaluate"][0]["label_budgets"] = [1, 5, 10, "all"]
    after = plan_of(raw, record, (0.3, 0.5, 0.4))
    assert set(before.row_keys()) < set(after.row_keys())
    missing = [unit for item in after.pretrainings for unit in item.missing(set(before.row_keys()))]
    assert {cell.label_budget for unit in missing for cell in unit.cells.values()} == {"5"}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda raw: raw["methods"]["mae"].update(epochs=3), False),
        (lambda raw: raw["search"].update(trials=4), False),
        (lambda raw: raw["search"].update(seed=1), False),
        (lambda raw: raw["nuisance"].update({"mae.lr": {"loguniform": [1e-4, 1e-1]}}), False),
        (lambda raw: raw.update(resources={"cpus_per_worker": 2}), False),
        (lambda raw: raw.update(resources={"workers": 2}), True),
        (lambda raw: raw.update(seeds=4), True),
        (lambda raw: raw.update(study="renamed", description="other words"), True),
        (lambda raw: raw["methods"].pop("pixels") or raw["evaluate"].pop(1), True),
        (lambda raw: raw["evaluate"][0].update(draws=3), True),
    ],
)
def test_a_search_key_follows_what_the_search_reads(
    raw: dict[str, Any], record: DataRecord, change: Callable[[dict[str, Any]], object], same: bool
) -> None:
    before = [search.key for search in plan_of(raw, record).searches]
    change(raw)
    after = [search.key for search in plan_of(raw, record).searches]
    assert (before == after) is same
    assert len(set(after)) == len(after) == 2


@pytest.mark.parametrize("field", ["fingerprint", "split_digest"])
def test_keys_follow_the_data(raw: dict[str, Any], record: DataRecord, field: str) -> None:
    other = replace(record, **{field: "other"})
    assert not set(plan_of(raw, record).row_keys()) & set(plan_of(raw, other).row_keys())
    assert plan_of(raw, replace(record, name="renamed")).row_keys() == plan_of(raw, record).row_keys()


def test_numerical_versions_are_in_the_keys(
    raw: dict[str, Any], record: DataRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan_of(raw, record, (0.3, 0.5, 0.4))
    monkeypatch.setattr(PROTOCOLS["knn"], "version", 99)
    after = plan_of(raw, record, (0.3, 0.5, 0.4))
    changed = set(before.row_keys()) ^ set(after.row_keys())
    assert len(changed) == 2 * 2
    monkeypatch.setattr(METHODS["mae"], "version", 99)
    assert [search.key for search in plan_of(raw, record).searches] != [search.key for search in before.searches]
    monkeypatch.setattr(versions, "TRAINING", 99)
    untrained = {key for item in plan_of(raw, record).pretrainings for unit in item.units for key in unit.cells}
    assert untrained <= set(after.row_keys())  # nothing without training depends on the loop


def test_one_row_serves_many_studies(raw: dict[str, Any], record: DataRecord) -> None:
    wide = plan_of(raw, record, (0.3, 0.5, 0.4))
    raw["scientific"] = {}
    raw["methods"]["mae"]["mask_ratio"] = 0.5
    narrow = plan_of(raw, record, (0.3, 0.5, 0.4))
    assert set(narrow.row_keys()) < set(wide.row_keys())


def test_the_best_trial_is_chosen_and_ties_go_to_the_first(raw: dict[str, Any], record: DataRecord) -> None:
    def chosen(*values: float | None) -> Any:
        return plan_of(raw, record, values).searches[0].chosen

    assert chosen(0.3, 0.5, 0.4) == {"lr": 1e-3}
    assert chosen(0.5, 0.5, 0.4) == {"lr": 1e-4}
    assert chosen(None, 0.1, None) == {"lr": 1e-3}
    assert chosen(None, None, None) == {"lr": 1e-4}
    assert chosen(0.3, 0.5) is None


def test_the_cost_of_a_search_counts_every_trial(raw: dict[str, Any], record: DataRecord) -> None:
    plan = plan_of(raw, record, (0.3, None, 0.4))
    assert {item.search_seconds for item in plan.pretrainings if item.setting.method == "mae"} == {6.0}
    assert {item.search_seconds for item in plan.pretrainings if item.setting.method == "pixels"} == {0.0}


def test_a_search_knows_its_open_slots(raw: dict[str, Any], record: DataRecord) -> None:
    setting = plan_of(raw, record).searches[0].setting
    done = (TrialRecord(1, {"lr": 1e-3}, 0.5, "complete", 1.0),)
    assert Search("k", setting, 3, done).missing == (0, 2)


def test_a_budget_larger_than_the_smallest_class(raw: dict[str, Any], record: DataRecord) -> None:
    raw["evaluate"][0]["label_budgets"] = [81]
    with pytest.raises(UserError, match=r"evaluate.0.label_budgets: 81 .* class '1' has 80 .* valid: 1 to 80, or all"):
        plan_of(raw, record)


def test_a_batch_larger_than_the_pool(raw: dict[str, Any], record: DataRecord) -> None:
    raw["methods"]["mae"]["batch_size"] = 2000
    with pytest.raises(UserError, match=r"mae.batch_size: 2000 is more than the 890"):
        plan_of(raw, record)


def test_a_patch_that_does_not_divide_the_image(raw: dict[str, Any], record: DataRecord) -> None:
    raw["methods"]["mae"]["patch_size"] = 3
    with pytest.raises(UserError, match=r"mae.patch_size: 3 does not divide an image of 8 x 8"):
        plan_of(raw, record)


def test_the_study_key_ignores_what_changes_no_number(raw: dict[str, Any]) -> None:
    before = study_key(parse_study(raw, "test"))
    assert study_key(parse_study(raw | {"description": "x", "resources": {"workers": 3}}, "test")) == before
    assert study_key(parse_study(raw | {"seeds": 3}, "test")) != before


def test_every_study_that_comes_with_bench_is_valid(studies: Path) -> None:
    files = sorted(studies.glob("*.yaml"))
    assert files
    for file in files:
        study = load_study(file)
        assert parse_study(study.as_json(), file.name).as_json() == study.as_json()
