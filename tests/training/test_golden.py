"""The numbers of every trained method, so that none changes unannounced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.data.shape import ImageShape
from bench.methods.registry import build_method
from bench.study.methods import METHODS
from bench.training.loop import pretrain
from tests.training.conftest import CLASSES, bound

COMMON = {"epochs": 3, "batch_size": 16, "lr": 0.003, "weight_decay": 0.05, "warmup": 0.1, "precision": "fp32"}
SETTINGS: dict[str, dict[str, Any]] = {
    "mae": {"encoder": "vit_nano", "patch_size": 2, "augmentation": "crop", "mask_ratio": 0.5, "decoder_width": 32,
            "decoder_depth": 1, "decoder_heads": 4, "norm_pix": True},
    "unet_masked": {"encoder": "unet_nano", "augmentation": "crop", "skip": True, "mask_ratio": 0.25, "patch": 2},
    "unet_denoise": {"encoder": "unet_nano", "augmentation": "crop", "skip": False, "sigma": 0.3},
    "unet_mixed": {"encoder": "unet_nano", "augmentation": "crop", "mask_ratio": 0.25, "patch": 2, "sigma": 1.5,
                   "noise": "uint8"},
    "simclr": {"encoder": "conv_nano", "augmentation": "affine", "temperature": 0.2, "projection_width": 128,
               "projection_out": 64},
    "swav": {"encoder": "conv_nano", "augmentation": "affine", "local_crops": 2, "local_size": 4, "crop_split": 0.7,
             "crop_least": 0.5, "prototypes": 16, "temperature": 0.1, "sinkhorn_epsilon": 0.03,
             "sinkhorn_iterations": 3, "queue": 16, "queue_from": 0.3, "freeze_steps": 2, "projection_width": 32,
             "projection_out": 16},
    "dino": {"encoder": "vit_nano", "patch_size": 2, "augmentation": "affine", "local_crops": 2, "local_size": 4,
             "crop_split": 0.7, "crop_least": 0.5, "prototypes": 32, "head_width": 32, "bottleneck": 16,
             "batch_norm": True, "student_temperature": 0.1, "teacher_temperature": 0.07,
             "teacher_temperature_start": 0.04, "temperature_warmup": 0.5, "centring": "centre",
             "centre_momentum": 0.9, "momentum": 0.9, "weight_decay_end": 0.4, "freeze_epochs": 1, "clip": 3.0},
    "self_masking": {"encoder": "conv_nano", "augmentation": "affine", "local_crops": 2, "local_size": 4,
                     "crop_split": 0.5, "crop_least": 0.25, "prototypes": 8, "temperature": 0.1,
                     "sinkhorn_epsilon": 0.05, "sinkhorn_iterations": 3, "queue": 16, "queue_from": 0.2,
                     "freeze_steps": 1, "projection_width": 0, "projection_out": 128, "score_lr": 50.0,
                     "mode": "mask", "masked": "weights"},
    "self_masking_cascade": {"encoder": "conv_nano", "augmentation": "affine", "local_crops": 2, "local_size": 4,
                             "crop_split": 0.5, "crop_least": 0.25, "prototypes": 8, "temperature": 0.1,
                             "sinkhorn_epsilon": 0.05, "sinkhorn_iterations": 3, "queue": 16, "queue_from": 0.2,
                             "freeze_steps": 1, "projection_width": 0, "projection_out": 128, "score_lr": 50.0,
                             "masked": "weights"},
    "noisy_labels": {"encoder": "conv_nano", "augmentation": "flip_rotate", "noise": "flip", "rate": 0.5,
                     "noise_seed": 0, "clean_share": 0.2, "handling": "none"},
}  # fmt: skip
LOSSES: dict[str, list[float]] = {
    "mae": [2.553, 2.0813, 1.1337, 0.70118, 0.7161, 0.69945],
    "unet_masked": [0.12758, 0.09815, 0.036498, 0.036593, 0.033556, 0.033088],
    "unet_denoise": [0.085971, 0.3063, 0.089552, 0.081525, 0.10166, 0.079487],
    "unet_mixed": [0.17062, 0.25339, 0.080663, 0.065893, 0.081653, 0.064383],
    "simclr": [3.2785, 3.2684, 2.8075, 2.9404, 2.6961, 2.5092],
    "swav": [4.6025, 4.2911, 4.1548, 3.7365, 3.551, 3.1936],
    "dino": [3.5081, 3.9002, 3.85, 2.8424, 3.4235, 2.7351],
    "noisy_labels": [1.9621, 1.9518, 1.8503, 1.8106, 1.7024, 1.7406],
    "self_masking": [2.4268, 2.399, 2.3098, 2.1824, 2.1802, 2.2407],
    "self_masking_cascade": [2.4268, 2.399, 2.3098, 2.1824, 2.1802, 2.2407],  # the dispatcher's
}


@pytest.mark.parametrize("name", [name for name, options in METHODS.items() if options.trains])
def test_numbers_are_those_of_the_stated_version(name: str, images: np.ndarray) -> None:
    options = METHODS[name](**COMMON, **SETTINGS[name])
    method = bound(build_method(name, options, ImageShape(1, 8, 8), [0.3], [0.3], 0, CLASSES), images)
    losses = pretrain(method, images, options, 0).step_losses
    assert losses == pytest.approx(LOSSES[name], rel=1e-3), (
        f"numbers changed: bump the version of {name} in bench/study/methods/ (or, if the loop or the "
        f"data pipeline changed, of TRAINING or DATA in bench/study/versions.py), then commit {losses}"
    )
