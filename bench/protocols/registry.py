"""The protocols by name."""

from __future__ import annotations

from collections.abc import Callable

from bench.errors import UserError
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
from bench.study.plugins import PROTOCOL_GROUP, Registry, load_reference
from bench.study.protocols import PROTOCOLS as OPTIONS

Run = Callable[[Evaluation], list[Score]]

_BUILT_IN: dict[str, Run] = {
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


def _runner(name: str, _: object) -> Run:
    """The function that the options of a plug-in name."""
    found: Run = load_reference(OPTIONS[name].implementation)
    if not callable(found):
        raise UserError(f"{OPTIONS[name].implementation} is no function of an Evaluation")
    return found


PROTOCOLS: Registry[Run] = Registry(PROTOCOL_GROUP, _BUILT_IN, _runner)
