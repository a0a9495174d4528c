"""Paths that a user gives as relative mean the same in a search's trials as in the user's shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import torch
import yaml

from bench.data.shape import ImageShape
from bench.methods.encoder import build_encoder, save_encoder
from bench.store.trials import read_trials
from tests.engine.conftest import command, environment

STUDY = {
    "study": "relative",
    "data": {"name": "digits", "max_train": 200, "max_test": 60},
    "methods": {"self_masking": {"encoder": "conv_nano", "weights": "backbone", "mode": "frozen", "epochs": 1}},
    "nuisance": {"self_masking.lr": {"loguniform": [0.01, 0.1]}},
    "search": {"trials": 1, "objective": "knn.balanced_accuracy@1"},
    "evaluate": [{"protocol": "knn", "label_budgets": [1], "draws": 1}],
    "seeds": 1,
    "reference": ["self_masking+knn"],
}


def test_a_backbone_beside_the_study_is_found_by_trials_and_tasks(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_encoder(build_encoder("conv_nano", ImageShape(1, 8, 8), [0.3], [0.3]), tmp_path / "backbone")
    (tmp_path / "relative.yaml").write_text(yaml.safe_dump(STUDY))
    done = subprocess.run(
        command("relative.yaml"), capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (records,) = read_trials(tmp_path / "results").values()
    assert [record["state"] for record in records] == ["complete"]
    assert "1 rows" in done.stdout
