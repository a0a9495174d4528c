"""Fitted features and shifted test images from a plan to rows, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.data.catalog import open_dataset
from bench.engine.evaluate import run_units
from bench.engine.site import Site
from bench.results.entrants import with_entrants
from bench.store.datasets import DataRecord
from bench.store.fragments import Fragments
from bench.study.load import parse_study
from bench.study.plan import Plan, build_plan

RAW = {
    "study": "classic",
    "data": {"name": "digits", "max_train": 300, "max_test": 100},
    "methods": {"hog": {}, "pca_pixels": {"components": 16}, "kmeans_patches": {"centroids": 8, "patches": 500}},
    "evaluate": [
        {"protocol": "robustness", "label_budgets": [2], "draws": 2, "shift": ["noise", "jpeg"], "severity": [1, 5]},
        {"protocol": "label_propagation", "label_budgets": [2], "draws": 2},
        {"protocol": "nearest_centroid", "label_budgets": [2], "draws": 2},
    ],
    "seeds": 2,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    root = tmp_path_factory.mktemp("classic")
    plan = planned(root)
    site = Site(root, plan.study.data, plan.study.resources)
    for pretraining in plan.pretrainings:
        outcome = run_units(site, pretraining, pretraining.units)
        assert outcome.status == "ok", outcome.details
    return Fragments(root, "rows").scan().collect()


def planned(root: Path) -> Plan:
    study = parse_study(dict(RAW), "classic")
    open_dataset(study.data, root)
    record = next(iter((root / "data").glob("*.json")))
    return build_plan(study, DataRecord.load(root, record.stem), {})


def test_every_shift_and_severity_is_an_entrant(rows: pl.DataFrame) -> None:
    assert rows.height == (1 + 1 + 2) * (4 + 1 + 1) * 2  # hog and PCA have no seeds
    assert rows["status"].unique().to_list() == ["ok"]
    names = with_entrants(rows).filter(pl.col("protocol") == "robustness")["entrant"].unique().to_list()
    assert "hog + robustness[severity=5, shift=noise]" in names
    assert len(names) == 3 * 4
    for details, options in rows.filter(pl.col("protocol") == "robustness")[["details", "protocol_options"]].rows():
        told, asked = json.loads(details), json.loads(options)
        assert (told["shift"], told["severity"]) == (asked["shift"], asked["severity"])


def test_accuracy_is_that_of_the_bitmap(rows: pl.DataFrame) -> None:
    for bits, n_test, accuracy in rows[["correct", "n_test", "accuracy"]].rows():
        assert np.unpackbits(np.frombuffer(bits, np.uint8), count=n_test).mean() == pytest.approx(accuracy)


def test_fitting_is_paid_for(rows: pl.DataFrame) -> None:
    seconds = dict(rows.group_by("method").agg(pl.col("pretrain_seconds").min()).iter_rows())
    assert seconds["hog"] == 0
    assert seconds["pca_pixels"] > 0
    assert seconds["kmeans_patches"] > 0
    parameters = dict(rows.group_by("method").agg(pl.col("parameters").first()).iter_rows())
    assert parameters == {"hog": 0, "pca_pixels": 65 * 16, "kmeans_patches": 36 + 36 * 36 + 8 * 36}
