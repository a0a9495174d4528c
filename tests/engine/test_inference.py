"""What a row says an entrant costs where it is used, from a task run in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bench.data.catalog import open_dataset
from bench.data.source import data_key
from bench.engine.evaluate import run_units
from bench.engine.site import Site
from bench.engine.trained import find_trained
from bench.methods.encoder import load_encoder
from bench.methods.flops import encoder_flops
from bench.store.datasets import DataRecord
from bench.store.fragments import Fragments
from bench.study.load import parse_study
from bench.study.plan import build_plan

STUDY: dict[str, Any] = {
    "study": "cost",
    "data": {"name": "digits", "max_train": 200, "max_test": 60},
    "methods": {"random_init": {"encoder": "unet_nano"}},
    "evaluate": [
        {"protocol": "linear", "label_budgets": [1], "draws": 1},
        {"protocol": "fusion", "label_budgets": [1], "draws": 1, "partner": "conv_nano"},
    ],
    "seeds": 1,
    "reference": ["random_init+linear"],
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    root: Path = tmp_path_factory.mktemp("results")
    study = parse_study(STUDY, "test")
    open_dataset(study.data, root)
    record = DataRecord.load(root, data_key(study.data))
    assert record is not None
    site = Site(root, study.data, study.resources)
    flops = {}
    for pretraining in build_plan(study, record, {}).pretrainings:
        outcome = run_units(site, pretraining, pretraining.units)
        assert outcome.status == "ok", outcome.details
        found = find_trained(root, pretraining.key)
        assert found is not None
        flops[pretraining.key] = encoder_flops(load_encoder(found[0]))
    own = pl.col("pretrain_key").replace_strict(flops).alias("own_flops")
    return Fragments(root, "rows").scan().with_columns(own).collect()


def one(rows: pl.DataFrame, protocol: str, control: bool) -> dict[str, Any]:
    kept = rows.filter(pl.col("protocol") == protocol, (pl.col("layer") == "none") == control)
    return kept.row(0, named=True)


def test_a_probe_costs_its_encoder(rows: pl.DataFrame) -> None:
    row = one(rows, "linear", False)
    assert row["flops"] == row["own_flops"] > 0
    assert row["inference_per_second"] > 0
    assert row["parameters"] > 0
    assert row["mean_specificity"] == pytest.approx(1, abs=0.2)
    assert row["combined"] == pytest.approx((row["macro_auroc"] + row["balanced_accuracy"]) / 2)


def test_a_fusion_costs_both_and_its_control_the_partner(rows: pl.DataFrame) -> None:
    probe, fused, control = one(rows, "linear", False), one(rows, "fusion", False), one(rows, "fusion", True)
    partner = json.loads(fused["details"])
    assert fused["flops"] == probe["flops"] + partner["partner_flops"]
    seconds = [1 / speed for speed in (fused["inference_per_second"], partner["partner_inference_per_second"])]
    assert seconds[0] > seconds[1] > 0
    assert control["flops"] == partner["partner_flops"]
