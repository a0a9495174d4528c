"""Ray Train: two workers at the same global batch follow the losses of one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.store.fragments import Fragments
from tests.engine.conftest import bench

pytestmark = pytest.mark.ray

WORKERS = max(1, min(2, os.cpu_count() or 1))


def run(study: Path, results: Path, workers: int) -> tuple[list[float], pl.DataFrame]:
    done = bench(
        study,
        "--results",
        results,
        *(
            "--set",
            f"resources.workers={workers}",
            "--set",
            "nuisance={}",
            "--set",
            "scientific={}",
            "--set",
            "seeds=1",
        ),
        *("--set", "methods={mae: {epochs: 3, batch_size: 64}}"),
        *("--set", "evaluate=[{protocol: linear, label_budgets: [1, 2], draws: 2}]"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = next((results / "artifacts" / "encoders").glob("*/training.json"))
    return json.loads(record.read_text())["losses"], Fragments(results, "rows").scan().sort("row_key").collect()


def test_two_workers_follow_the_losses_of_one(tiny: Path, tmp_path: Path) -> None:
    alone, rows = run(tiny, tmp_path / "alone", workers=0)
    together, rows_together = run(tiny, tmp_path / "together", workers=2)
    assert len(alone) == 3
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    # the number of workers is no input: the keys are the same, and so, but for rounding, are the scores
    assert rows["row_key"].to_list() == rows_together["row_key"].to_list()
    np.testing.assert_allclose(rows_together["accuracy"], rows["accuracy"], atol=0.03)


def test_a_search_runs_in_worker_groups(tiny: Path, tmp_path: Path) -> None:
    """A group that needs every core must not wait for a share of one that its own driver holds."""
    done = bench(
        tiny,
        "--results",
        tmp_path / "results",
        *("--set", f"resources.workers={WORKERS}", "--set", "seeds=1", "--set", "scientific={}"),
        *("--set", "nuisance={mae.lr: {loguniform: [1e-3, 4e-3]}}"),
        *("--set", "methods={mae: {epochs: 2, batch_size: 64}}"),
        *("--set", "evaluate=[{protocol: linear, label_budgets: [1, 2], draws: 2}]"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trials = Fragments(tmp_path / "results", "trials").scan().collect()
    assert trials["state"].to_list() == ["complete", "complete"]
    assert set(Fragments(tmp_path / "results", "rows").scan().collect()["status"]) == {"ok"}
