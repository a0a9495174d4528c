"""The protocols by name."""

from __future__ import annotations

from collections.abc import Callable

from bench.errors import UserError
from bench.protocols.base import Evaluation, Score
from bench.references import References, load_reference
from bench.study.plugins import PROTOCOL_GROUP, Registry
from bench.study.protocols import PROTOCOLS as OPTIONS

Run = Callable[[Evaluation], list[Score]]

_BUILT_IN: References[Run] = References(
    {
        "linear": "bench.protocols.linear:run",
        "knn": "bench.protocols.knn:run",
        "fusion": "bench.protocols.fusion:run",
        "finetune": "bench.protocols.finetune:run",
        "finetune_mask": "bench.protocols.finetune_mask:run",
        "nearest_centroid": "bench.protocols.nearest_centroid:run",
        "label_propagation": "bench.protocols.label_propagation:run",
        "robustness": "bench.protocols.robustness:run",
        "segmentation": "bench.protocols.segmentation:run",
        "as_is": "bench.protocols.as_is:run",
        "few_shot": "bench.protocols.few_shot:run",
    }
)


def _runner(name: str, _: object) -> Run:
    """The function that the options of a plug-in name."""
    found: Run = load_reference(OPTIONS[name].implementation)
    if not callable(found):
        raise UserError(f"{OPTIONS[name].implementation} is no function of an Evaluation")
    return found


PROTOCOLS: Registry[Run] = Registry(PROTOCOL_GROUP, _BUILT_IN, _runner)
