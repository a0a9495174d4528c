"""Pretraining on noisy masks from a plan to rows, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bench.data.catalog import open_dataset
from bench.engine.checks import check_names
from bench.engine.evaluate import run_units
from bench.engine.site import Site
from bench.engine.trained import find_trained
from bench.errors import UserError
from bench.methods.noisy_labels import NoisyLabels
from bench.store.datasets import DataRecord
from bench.store.fragments import Fragments
from bench.study.load import parse_study
from bench.study.plan import Plan, build_plan

RAW: dict[str, Any] = {
    "study": "noisy",
    "data": {"name": "land_cover", "images": 40, "image_size": 16},
    "methods": {"random_init": {"encoder": "unet_nano"}, "noisy_labels": {"epochs": 1, "batch_size": 8}},
    "scientific": {"noisy_labels.noise": ["flip", "remove"], "noisy_labels.rate": [0.0, 0.5]},
    "evaluate": [
        {"protocol": "segmentation", "label_budgets": [2], "draws": 1, "steps": 2, "epochs": 1},
        {"protocol": "as_is", "methods": ["noisy_labels"], "label_budgets": [2, 4]},
    ],
    "seeds": 1,
}


def planned(root: Path, **changes: Any) -> Plan:
    study = parse_study({**RAW, **changes}, "noisy")
    open_dataset(study.data, root)
    record = next(iter((root / "data").glob("*.json")))
    plan = build_plan(study, DataRecord.load(root, record.stem), {})
    check_names(plan)
    return plan


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, pl.DataFrame]:
    root = tmp_path_factory.mktemp("noisy")
    plan = planned(root)
    site = Site(root, plan.study.data, plan.study.resources)
    for pretraining in plan.pretrainings:
        outcome = run_units(site, pretraining, pretraining.units)
        assert outcome.status == "ok", outcome.details
    return plan, root, Fragments(root, "rows").scan().collect()


def test_rows_hold_the_realised_noise(ran: tuple[Plan, Path, pl.DataFrame]) -> None:
    rows = ran[2].filter(pl.col("method") == "noisy_labels", pl.col("protocol") == "segmentation")
    assert rows.height == 1 + 2  # without noise there is one setting
    for axes, details in rows[["axes", "details"]].rows():
        rate, told = json.loads(axes)["rate"], json.loads(details)
        assert (told["realised_noise_rate"] > 0) == (told["information_loss"] > 0) == (rate > 0)
        assert sum(told.get(f"confusion_0_{label}", 0) for label in range(6)) == pytest.approx(1, abs=1e-4)


def test_the_network_as_it_is_scores_alike_at_every_budget(ran: tuple[Plan, Path, pl.DataFrame]) -> None:
    rows = ran[2].filter(pl.col("protocol") == "as_is")
    assert set(rows["method"]) == {"noisy_labels"}
    assert rows.height == 3 * 2
    assert set(rows["status"]) == {"ok"}
    assert rows.group_by("pretrain_key").agg(pl.col("miou").n_unique())["miou"].to_list() == [1, 1, 1]


def test_pretraining_reads_the_images_that_are_kept_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = {"random_init": {"encoder": "unet_nano"}, "noisy_labels": {"epochs": 1, "batch_size": 8, "rate": 0.5}}
    plan = planned(tmp_path, data={**RAW["data"], "upstream": 0.5}, methods=methods, scientific={})
    site = Site(tmp_path, plan.study.data, plan.study.resources)
    pools: list[np.ndarray] = []
    bind = NoisyLabels.bind
    monkeypatch.setattr(NoisyLabels, "bind", lambda self, masks, pool: (pools.append(pool), bind(self, masks, pool))[1])
    for pretraining in plan.pretrainings:
        assert run_units(site, pretraining, pretraining.units).status == "ok"
    (pool,), splits = pools, site.dataset().splits
    np.testing.assert_array_equal(pool, splits.upstream)
    assert not np.isin(pool, splits.train).any()


def test_pictures_show_clean_and_noisy_masks(ran: tuple[Plan, Path, pl.DataFrame]) -> None:
    plan, root, _ = ran
    folder, trained = find_trained(root, plan.pretrainings[-1].key)
    assert trained.status == "ok"
    found = sorted(path.name for path in (folder / "previews").iterdir())
    assert found == ["0_input.png", "1_clean.png", "2_noisy.png", "3_prediction.png"]


def test_data_without_masks_are_refused_by_the_plan(tmp_path: Path) -> None:
    data, linear = {"name": "digits"}, [{"protocol": "linear", "label_budgets": [2]}]
    with pytest.raises(UserError, match="noisy_labels: learns from masks, and digits has none"):
        planned(tmp_path, data=data, evaluate=linear)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rate": 1.5}, "rate"),
        ({"rate": -0.1}, "rate"),
        ({"noise": "salt"}, "flip"),
        ({"augmentation": "crop"}, "flip"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        planned(tmp_path, methods={"noisy_labels": change}, scientific={})
