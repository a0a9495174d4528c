"""Few-shot episodes of the land-cover test bed from a plan to a leaderboard, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from bench.data.catalog import open_dataset
from bench.engine.evaluate import run_units
from bench.engine.site import Site
from bench.results.leaderboard import make_board
from bench.results.opening import assemble, read_items, read_rows, split_path
from bench.results.pictures import pictures
from bench.store.datasets import DataRecord
from bench.study.load import parse_study
from bench.study.plan import build_plan

ENTRY = {
    "protocol": "few_shot", "folds": [["water", "bare"]], "validation_classes": 1, "label_budgets": [1, 2], "steps": 2,
    "batch_size": 2, "validation_episodes": 4, "test_episodes": 40, "enhancer_steps": 2,
}  # fmt: skip
RAW: dict[str, Any] = {
    "study": "episodes",
    "data": {"name": "land_cover", "images": 120, "image_size": 16, "bands": 4},
    "methods": {"random_init": {"encoder": "vit_nano"}},
    "evaluate": [{**ENTRY, "supervision": ["image", "pixel"]}, {**ENTRY, "supervision": "mixed", "mask_share": 0.2}],
    "seeds": 2,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("episodes")
    study = parse_study(RAW, "episodes")
    open_dataset(study.data, root)
    (record,) = (root / "data").glob("*.json")
    plan = build_plan(study, DataRecord.load(root, record.stem), {})
    site = Site(root, study.data, study.resources)
    for item in plan.settings:
        for pretraining in item.pretrainings:
            outcome = run_units(site, pretraining, pretraining.units)
            assert (outcome.status, outcome.rows) == ("ok", 6)
    return root


def test_intervals_hold_for_new_query_images(root: Path) -> None:
    rows = read_rows(root, None)
    board = make_board(assemble(rows, read_items(split_path(root, rows)), None), metric="miou")
    assert board.frame.height == 3
    assert all("test set" not in mark for mark in board.frame["score_mark"])
    assert (board.frame["score_high"] > board.frame["score_low"]).all()
    held = [json.loads(text)["item_jackknife"] for text in rows["details"]]
    assert {len(values) for each in held for values in each.values()} == {20}
    forgotten = rows.with_columns(details=pl.lit(None, pl.String))
    board = make_board(assemble(forgotten, read_items(split_path(root, rows)), None), metric="miou")
    assert all("this test set only" in mark for mark in board.frame["score_mark"])


def test_every_pretraining_has_pictures_of_its_episodes(root: Path) -> None:
    for key in read_rows(root, None)["pretrain_key"].unique():
        found = pictures(root, key)
        assert [picture.name for picture in found] == [
            f"1-way 1-shot episodes of fold 0, {kind}" for kind in ("image", "mixed 0.2", "pixel")
        ]
        sheet = np.asarray(Image.open(found[0].path))
        assert sheet.shape == (6 * 8 * 16, 5 * 8 * 16, 3)  # 16 pixels, eight times as large
