"""The protocols by name."""

from __future__ import annotations

from collections.abc import Callable

from bench.protocols import finetune, fusion, knn, linear
from bench.protocols.base import Evaluation, Score

PROTOCOLS: dict[str, Callable[[Evaluation], list[Score]]] = {
    "linear": linear.run,
    "knn": knn.run,
    "fusion": fusion.run,
    "finetune": finetune.run,
}
