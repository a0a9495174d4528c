from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]

TINY: dict[str, Any] = {
    "study": "tiny",
    "data": {"name": "digits", "max_train": 300, "max_test": 100},
    "methods": {
        "pixels": {},
        "random_init": {"encoder": "conv_nano"},
        "simclr": {"encoder": "conv_nano", "epochs": 2, "batch_size": 64},
        "mae": {"encoder": "vit_nano", "epochs": 2, "batch_size": 64},
    },
    "scientific": {"mae.mask_ratio": [0.25, 0.75]},
    "nuisance": {"mae.lr": {"loguniform": [1e-3, 4e-3]}, "simclr.lr": {"loguniform": [1e-3, 4e-3]}},
    "search": {"trials": 2, "objective": "linear.balanced_accuracy@2"},
    "evaluate": [
        {"protocol": "linear", "label_budgets": [1, 2], "draws": 2},
        {"protocol": "knn", "label_budgets": [1, 2], "draws": 2},
        {"protocol": "finetune", "label_budgets": [1], "draws": 1, "steps": 3, "methods": ["random_init"]},
    ],
    "seeds": 2,
    "reference": ["pixels+linear"],
}
# pixels: 2 protocols x 4; random_init: 2 x (8 + 1); simclr: 2 x 8; mae: 2 settings x 2 x 8
TINY_ROWS = 8 + 18 + 16 + 32


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY))
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bench.run", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def bench(*arguments: object, timeout: float = 400) -> subprocess.CompletedProcess[str]:
    """Runs `python -m bench.run` as a user does, in a process of its own."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout, cwd=ROOT, env=environment()
    )
