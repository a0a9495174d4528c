from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.store.keys import content_key
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


def test_rows_are_called_by_their_unit_and_cell(raw: dict[str, Any], record: DataRecord) -> None:
    for pretraining in plan_of(raw, record, (0.3, 0.5, 0.4)).pretrainings:
        for unit in pretraining.units:
            assert list(unit.cells) == [content_key("row", unit=unit.key, cell=list(c)) for c in unit.cells.values()]


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


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "unet_mixed",
            {"patch": 3},
            r"unet_mixed\.patch: 3 does not divide an image of 8 x 8 pixels; valid: 1, 2, 4, 8",
        ),
        (
            "unet_masked",
            {"encoder": "unet/resnet18"},
            r"unet_masked\.encoder: unet/resnet18 needs sides divisible by 32",
        ),
    ],
)
def test_a_u_net_that_does_not_fit_the_image(
    raw: dict[str, Any], record: DataRecord, method: str, options: dict[str, Any], message: str
) -> None:
    raw["methods"][method] = {"batch_size": 32, **options}
    with pytest.raises(UserError, match=message):
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


FUSION = {"protocol": "fusion", "partner": "conv_nano", "label_budgets": [1], "draws": 2}


def fused(raw: dict[str, Any], *entries: dict[str, Any]) -> dict[str, Any]:
    """A study of a ViT of 64 channels and a U-Net, each under these fusion entries."""
    methods = {"random_init": {"encoder": "vit_nano"}, "unet_masked": {}}
    evaluate = [{**FUSION, **entry} for entry in entries]
    return raw | {"methods": methods, "scientific": {}, "nuisance": {}, "evaluate": evaluate, "seeds": 2}


def controls_of(plan: Plan) -> list[list[str | None]]:
    """The controls of each partner, each once, in order."""
    partners = [item for item in plan.pretrainings if item.setting.method == "partner"]
    assert all(item.seed is None and cell.layer == "none" for item in partners for cell in _cells(item))
    return [list(dict.fromkeys(cell.fuse for cell in _cells(item))) for item in partners]


def _cells(item: Any) -> list[Any]:
    return [cell for unit in item.units for cell in unit.cells.values()]


def test_controls_of_fusion_are_an_entrant_of_their_own(raw: dict[str, Any], record: DataRecord) -> None:
    plan = plan_of(fused(raw, {"layers": ["enc1", "last"]}), record)
    assert controls_of(plan) == [["partner_only", "second_partner", "pixels_pca_16", "pixels_pca_64"]]
    others = [item for item in plan.pretrainings if item.setting.method != "partner"]
    assert {cell.fuse for item in others for cell in _cells(item)} == {"concat"}
    # a ViT has no enc1 and is read at its last layer alone; two seeds each, two draws
    assert len(plan.row_keys()) == 2 * 2 + 2 * 2 * 2 + 4 * 2
    assert plan.pretrainings[-1].options.encoder_name == "conv_nano"


def test_entries_with_one_partner_share_its_controls(raw: dict[str, Any], record: DataRecord) -> None:
    one = plan_of(fused(raw, {"methods": ["unet_masked"]}), record)
    two = plan_of(fused(raw, {"methods": ["unet_masked"]}, {"methods": ["random_init"], "label_budgets": [5]}), record)
    assert len(controls_of(two)) == 1
    assert set(one.row_keys()) < set(two.row_keys())
    assert len(set(two.row_keys())) == len(two.row_keys())
    several = plan_of(fused(raw, {}, {"partner_seed": 1}, {"partner": "pixels"}, {"head": "mlp"}), record)
    assert len(controls_of(several)) == 3  # another head has other controls, but of the same partner
    assert controls_of(several)[2] == ["partner_only", "pixels_pca_64"]  # raw pixels have no second seed


def test_a_pca_has_no_more_dimensions_than_the_data(raw: dict[str, Any], record: DataRecord) -> None:
    entry = {"controls": ["pixels_pca"], "pca_dimensions": [3, 500]}
    assert controls_of(plan_of(fused(raw, entry), record)) == [["pixels_pca_3", "pixels_pca_64"]]
    few = plan_of(fused(raw, entry), replace(record, image_shape=(224, 224, 3), n_train=300))
    assert controls_of(few) == [["pixels_pca_3", "pixels_pca_300"]]
    unknown = fused(raw, {"controls": ["pixels_pca"]}) | {"methods": {"random_init": {"encoder": "timm/resnet18"}}}
    with pytest.raises(UserError, match=r"evaluate.0.pca_dimensions: say how many"):
        plan_of(unknown, record)
    assert controls_of(plan_of(fused(raw, {"controls": []}), record)) == []


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"partner": "conv_nan"}, r"evaluate.0.partner: unknown encoder 'conv_nan' \(did you mean 'conv_nano'\?\)"),
        ({"partner": "pixels", "controls": ["second_partner"]}, r"controls: there is no second pixels"),
        ({"partner": "pixels", "train_partner": True}, r"train_partner: the partner 'pixels' has no weights"),
        ({"augmentation": "affine"}, r"augmentation: 'affine' needs train_partner: true"),
        ({"imbalance": "focal"}, r"imbalance: 'focal' cannot be used .*valid here: none, class_weights, logit_adj"),
        ({"imbalance": "rare_augmentation", "head": "mlp"}, r"'rare_augmentation' cannot be used by fusion"),
        ({"imbalance": "rare_augmentation", "train_partner": True}, r"strengthens the augmentation of fusion"),
        ({"partner_weights": "nowhere.pth"}, r"evaluate.0.partner_weights: there is no file 'nowhere.pth'"),
    ],
)
def test_a_fusion_that_cannot_be_is_refused(
    raw: dict[str, Any], record: DataRecord, entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        plan_of(fused(raw, entry), record)


def test_the_partner_is_named_in_its_entry_alone(raw: dict[str, Any], record: DataRecord) -> None:
    with pytest.raises(UserError, match=r"methods.partner: .* evaluate.N.partner"):
        plan_of(raw | {"methods": {"partner": {"encoder": "conv_nano"}}, "scientific": {}, "nuisance": {}}, record)


def test_keys_follow_the_partners_weights(raw: dict[str, Any], record: DataRecord, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    keys = []
    for content in (b"one", b"two", b"one"):
        path.write_bytes(content)
        keys.append(plan_of(fused(raw, {"partner_weights": str(path)}), record).row_keys())
    assert keys[0] == keys[2]
    assert not set(keys[0]) & set(keys[1])


def test_pretrainings_do_not_depend_on_the_fusion(raw: dict[str, Any], record: DataRecord) -> None:
    def others(*entries: dict[str, Any]) -> set[str]:
        made = plan_of(fused(raw, *entries), record).pretrainings
        return {key for item in made if item.setting.method != "partner" for unit in item.units for key in unit.cells}

    assert others({}) == others({"controls": ["partner_only"]}) == others({"pca_dimensions": [2]})
    assert others({}) < others({"fuse": ["concat", "gated"]})
