from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.store.datasets import DataRecord


@pytest.fixture
def record() -> DataRecord:
    return DataRecord(
        data_key="d",
        source_key="s",
        name="digits",
        fingerprint="f",
        split_digest="p",
        image_shape=(8, 8, 1),
        class_names=tuple("0123456789"),
        pool_counts=(90, 80, *(90,) * 8),
        n_train=890,
        n_validation=200,
        n_test=400,
    )


@pytest.fixture
def raw() -> dict[str, Any]:
    return {
        "study": "small",
        "data": {"name": "digits"},
        "methods": {"pixels": None, "random_init": {"encoder": "vit_nano"}, "mae": {"epochs": 2}},
        "scientific": {"mae.mask_ratio": [0.25, 0.5]},
        "nuisance": {"mae.lr": {"loguniform": [1e-4, 1e-2]}},
        "search": {"trials": 3},
        "evaluate": [
            {"protocol": "linear", "label_budgets": [1, 10, "all"], "draws": 2, "layers": ["block1", "last"]},
            {"protocol": "knn", "label_budgets": [1], "draws": 2, "methods": ["pixels"]},
        ],
        "seeds": 2,
    }


@pytest.fixture
def studies() -> Path:
    return Path(__file__).parents[2] / "search_spaces"
