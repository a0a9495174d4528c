"""`--data`: from a folder of images and a few labels to a leaderboard, with nothing else said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from bench.store.fragments import Fragments
from tests.engine.conftest import bench


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three kinds of stripes of mixed sizes, and images without a label."""
    generator = np.random.default_rng(0)
    for label, (down, across) in {"rows": (1, 0), "columns": (0, 1), "diagonal": (1, 1), "unlabelled": (1, 0)}.items():
        (tmp_path / "my photos" / label).mkdir(parents=True)
        for index in range(15):
            height, width = generator.integers(9, 20, 2)
            phase = down * np.arange(height)[:, None] + across * np.arange(width)
            pixels = 128 + 90 * np.sin(2 * phase + generator.uniform(0, 6)) + generator.normal(0, 10, (height, width))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "my photos" / label / f"{index}.png")
    return tmp_path / "my photos"


@pytest.mark.ray
def test_a_folder_gets_a_leaderboard(photos: Path, tmp_path: Path) -> None:
    quick = ["simclr.epochs=2", "mae.epochs=2", "evaluate.finetune.steps=2", "seeds=1"]
    quick += [f"evaluate.{name}.draws=1" for name in ("linear", "knn", "finetune")]
    overrides = [part for override in quick for part in ("--set", override)]
    done = bench("--data", photos, "--results", tmp_path / "results", *overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 images, 3 classes (sub-folders)" in done.stdout
    assert "15 without a label, for pretraining only" in done.stdout
    assert f"written to {tmp_path}/results/studies/own-my-photos.yaml" in done.stdout
    assert "simclr + linear" in done.stdout
    rows = Fragments(tmp_path / "results", "rows").scan().collect()
    assert set(rows["status"]) == {"ok"}
    assert set(rows["method"]) == {"pixels", "random_init", "simclr", "mae"}
    assert rows["n_test"].unique().to_list() == [9]
    budgets = rows.filter(pl.col("protocol") == "linear")["label_budget"].unique()
    assert set(budgets) == {"1", "2", "5", "10", "all"}
