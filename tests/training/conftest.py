from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.registry import build_method
from bench.study.methods import METHODS, TrainedOptions

TINY: dict[str, dict[str, object]] = {
    "mae": {"mask_ratio": 0.5},
    "unet_masked": {},
    "unet_denoise": {"sigma": 0.3},
    "unet_mixed": {"sigma": 0.3},
    "simclr": {},
    "swav": {"prototypes": 16, "queue": 32, "queue_from": 0.3, "freeze_steps": 2, "local_crops": 2},
    "dino": {
        "prototypes": 32,
        "head_width": 32,
        "local_crops": 1,
        "weight_decay_end": 0.4,
        "centring": "centre",
        "momentum": 0.99,
        "teacher_temperature": 0.07,
    },
    "noisy_labels": {"rate": 0.5, "handling": "confidence_selection"},
    "self_masking": {"queue": 16, "prototypes": 8, "local_crops": 2, "freeze_steps": 1},
    "self_masking_cascade": {"queue": 16, "prototypes": 8, "local_crops": 2, "freeze_steps": 1},
}

CLASSES = 3  # of the masks


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Blobs of ink at random places: uint8 [40, 8, 8, 1]."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:8, :8]
    centres = generator.uniform(1, 7, (40, 2, 1, 1))
    distance = (rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2
    return np.uint8(255 * np.exp(-distance / 4))[..., np.newaxis]


def bound(method: Method, images: np.ndarray) -> Method:
    """The method, with the masks of these images where it learns from masks: dark, grey and bright pixels."""
    if method.needs_masks:
        method.bind(np.digitize(images[..., 0], (50, 150)).astype(np.uint8), np.arange(len(images)))
    return method


@pytest.fixture
def make(images: np.ndarray) -> Callable[..., tuple[Method, TrainedOptions]]:
    """A method of any name in a tiny form, with its options: make(name, seed, **options)."""

    def build(name: str, seed: int = 0, **options: object) -> tuple[Method, TrainedOptions]:
        chosen = METHODS[name](**{"epochs": 3, "batch_size": 16, "lr": 3e-3, **TINY[name], **options})
        method = build_method(name, chosen, ImageShape(1, 8, 8), [0.3], [0.3], seed, CLASSES)
        return bound(method, images), chosen

    return build
