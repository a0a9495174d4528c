"""What a proposed study will take before anything was run: a rule of thumb from timings on one core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Seconds of one core for an image of 32 x 32 pixels, measured with torch on one thread; convolutions grow with area.
_SIMCLR = 5.9e-3
_MAE = 0.7e-3  # 64 patches, whatever their size
_SUPERVISED = 3.0e-3
_ENCODE = 1.2e-3
_CELL = 0.35  # a linear probe or a k-NN at one budget and draw, its selection included
_UNIT = 3.0  # a task's own start
_START = 20.0  # Ray, imports, the leaderboard
_READ, _READ_MEGAPIXEL = 0.4e-3, 12e-3  # decoding an image, and what each million pixels of it adds
_GPU_SPEED = 15.0  # cores that a GPU stands for in training; not measured here
_AREA = 32 * 32


@dataclass(frozen=True)
class Work:
    """Counts that the time depends on: images and their mean pixels, train pool, test images, classes; the machine."""

    images: int
    pixels: float
    shorter: int
    train: int
    test: int
    classes: int
    cores: int
    gpus: int


def seconds_of(raw: Mapping[str, Any], work: Work) -> float:
    """Wall seconds of a proposed study on this machine, to perhaps a factor of two."""
    seeds: int = raw["seeds"]
    area = (raw["data"].get("image_size") or work.shorter) ** 2 / _AREA
    trained = (
        seeds
        * work.train
        * (raw["methods"]["simclr"]["epochs"] * _SIMCLR * area + raw["methods"]["mae"]["epochs"] * _MAE)
    )
    linear, knn, tune = raw["evaluate"]
    cells = sum(1 + entry["draws"] * (len(entry["label_budgets"]) - 1) for entry in (linear, knn))
    networks = 4 * seeds
    heads = (networks + 1) * cells * _CELL * max(1.0, work.classes / 10)
    encoded = networks * (work.train + work.test) * _ENCODE * area
    labels = sum(min(64, int(budget) * work.classes) for budget in tune["label_budgets"])
    tuned = seeds * tune["draws"] * tune["steps"] * labels * _SUPERVISED * area
    read = work.images * (_READ + _READ_MEGAPIXEL * work.pixels / 1e6)
    speed = work.gpus * _GPU_SPEED if work.gpus else work.cores
    return float(_START + (read + heads + networks * _UNIT) / work.cores + (trained + encoded + tuned) / speed)
