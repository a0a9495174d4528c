from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.registry import build_method
from bench.study.methods import METHODS

DIGITS = ImageShape(1, 8, 8)
CLASSES = 3  # of the masks
SMALLEST = {
    "mae": {"mask_ratio": 0.5},
    "timm": {"encoder": "timm/test_resnet"},
    "kmeans_patches": {"centroids": 8, "patches": 400, "patch": 4},
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file as somebody might have published it."""
    path = tmp_path_factory.mktemp("published") / "weights.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        save_file(timm.create_model("test_resnet", num_classes=0, in_chans=3).state_dict(), path)
    return path


@pytest.fixture
def make(weights: Path):
    """Builds a method of any name in a small form: make(name, shape, seed, **options)."""

    def build(name: str, shape: ImageShape = DIGITS, seed: int = 0, **options: object) -> Method:
        chosen = {**SMALLEST.get(name, {}), **options}
        if name == "timm":
            chosen["weights"] = str(weights)
        method = build_method(
            name, METHODS[name](**chosen), shape, [0.3] * shape.channels, [0.2] * shape.channels, seed, CLASSES
        )
        if method.fits:
            size = 40, shape.height, shape.width, shape.channels
            method.fit(np.random.default_rng(0).integers(0, 256, size, np.uint8), np.arange(40), seed)
        if METHODS[name].staged:  # each network as it starts
            size = 160, shape.height, shape.width, shape.channels
            list(method.stages(np.random.default_rng(0).integers(0, 256, size, np.uint8), np.arange(160), seed))
        return method

    return build
