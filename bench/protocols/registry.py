"""The protocols by name."""

from __future__ import annotations

from collections.abc import Callable

from bench.protocols import (
    as_is,
    few_shot,
    finetune,
    finetune_mask,
    fusion,
    knn,
    label_propagation,
    linear,
    nearest_centroid,
    robustness,
    segmentation,
)
from bench.protocols.base import Evaluation, Score

PROTOCOLS: dict[str, Callable[[Evaluation], list[Score]]] = {
    "linear": linear.run,
    "knn": knn.run,
    "fusion": fusion.run,
    "finetune": finetune.run,
    "finetune_mask": finetune_mask.run,
    "nearest_centroid": nearest_centroid.run,
    "label_propagation": label_propagation.run,
    "robustness": robustness.run,
    "segmentation": segmentation.run,
    "as_is": as_is.run,
    "few_shot": few_shot.run,
}
