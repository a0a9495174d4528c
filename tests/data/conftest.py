"""Small trees of images, and the real sets where they are at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Tree = Callable[..., Path]


@pytest.fixture
def real_data() -> Path:
    """The folder of real image sets beside the checkout."""
    folder = Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder shared/data beside the checkout: the real image sets are not here")
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Makes a tree of class folders: tree({"cat": 3, "train/dog": 2}, size=(24, 40), mode="L")."""

    def make(counts: dict[str, int], size: tuple[int, int] = (12, 12), mode: str = "RGB", seed: int = 0) -> Path:
        root = tmp_path / "images"
        generator = np.random.default_rng(seed)
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
                pixels = generator.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(root / folder / f"{index:03d}.png")
        return root

    return make
