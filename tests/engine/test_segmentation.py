"""Segmentation on the land-cover test bed from a plan to rows, in this process; thirteen bands too."""

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
from bench.engine.probe import score
from bench.engine.site import Site
from bench.engine.trained import find_trained
from bench.errors import UserError
from bench.methods.encoder import load_encoder
from bench.store.datasets import DataRecord
from bench.store.fragments import Fragments
from bench.study.load import parse_study
from bench.study.plan import Plan, build_plan
from bench.study.protocols import SegmentationOptions
from bench.study.spec import Objective

QUICK = {"steps": 3, "epochs": 1, "batch_size": 4}
RAW: dict[str, Any] = {
    "study": "dense",
    "data": {"name": "land_cover", "images": 40, "image_size": 16, "bands": 13},
    "methods": {
        "random_init": {"encoder": "conv_nano"},
        "mae": {"encoder": "vit_nano", "epochs": 1, "batch_size": 16},
        "unet_denoise": {"encoder": "unet_nano", "epochs": 1, "batch_size": 16},
        "simclr": {"encoder": "timm/resnet18", "epochs": 1, "batch_size": 16, "augmentation": "aerial"},
    },
    "evaluate": [
        {
            "protocol": "segmentation",
            "label_budgets": [2, 5],
            "draws": 2,
            "encoder_state": ["frozen", "trained"],
            **QUICK,
        }
    ],
    "seeds": 1,
}


def planned(root: Path, **changes: Any) -> Plan:
    study = parse_study({**RAW, **changes}, "dense")
    open_dataset(study.data, root)
    record = next(iter((root / "data").glob("*.json")))
    plan = build_plan(study, DataRecord.load(root, record.stem), {})
    check_names(plan)
    return plan


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dense")


@pytest.fixture(scope="module")
def rows(root: Path) -> pl.DataFrame:
    plan = planned(root)
    site = Site(root, plan.study.data, plan.study.resources)
    for pretraining in plan.pretrainings:
        outcome = run_units(site, pretraining, pretraining.units)
        assert outcome.status == "ok", outcome.details
    return Fragments(root, "rows").scan().collect()


def test_every_cell_is_a_row_with_the_scores_of_segmentation(rows: pl.DataFrame) -> None:
    assert rows.height == 4 * 2 * 2 * 2
    assert rows["status"].unique().to_list() == ["ok"]
    for name in ("miou", "pixel_accuracy", "macro_f1", "boundary_f1"):
        assert rows[name].is_between(0, 1).all()
    for name in ("accuracy", "balanced_accuracy", "correct", "class_counts", "class_correct", "nll"):
        assert rows[name].null_count() == rows.height
    assert rows["n_labels"].to_list() == [int(budget) for budget in rows["label_budget"]]
    assert rows["layer"].unique().to_list() == ["last"]


def test_scores_are_those_of_the_confusion_matrix_of_all_test_pixels(root: Path, rows: pl.DataFrame) -> None:
    splits = open_dataset(parse_study(dict(RAW), "dense").data, root).splits
    for n_test, details, accuracy, miou in rows[["n_test", "details", "pixel_accuracy", "miou"]].rows():
        confusion = np.array(json.loads(details)["confusion"])
        assert n_test == len(splits.test)
        assert confusion.sum() == n_test * 16 * 16
        assert np.trace(confusion) / confusion.sum() == pytest.approx(accuracy)
        union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
        true = confusion.sum(1) > 0
        assert (np.diag(confusion)[true] / union[true]).mean() == pytest.approx(miou)


def test_the_objective_of_a_search_is_computed(root: Path, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.protocols.segmentation.JUDGE", SegmentationOptions(**QUICK))
    plan = planned(root)
    found = find_trained(root, plan.pretrainings[1].key)
    assert found is not None
    site = Site(root, plan.study.data, plan.study.resources)
    assert 0 < score(load_encoder(found[0]), site.dataset(), Objective.parse("segmentation.miou@1")) < 1


@pytest.mark.parametrize(
    ("methods", "told"),
    [
        (
            {"simclr": {"augmentation": "simclr", "batch_size": 16}},
            r"simclr.augmentation: 'simclr' jitters colours.*13",
        ),
        ({"random_init": {"encoder": "timm/nothing"}}, "timm has no network"),
    ],
)
def test_mistakes_end_before_anything_is_trained(tmp_path: Path, methods: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        planned(tmp_path, methods=methods)
    assert not list(tmp_path.glob("artifacts/encoders/*"))
