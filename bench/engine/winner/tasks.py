"""Which protocols leave something to take home, and how."""

from __future__ import annotations

from typing import Any

from bench.engine.winner import classification, few_shot, segmentation
from bench.engine.winner.candidate import Task

TASKS: dict[str, Task[Any]] = {
    **classification.tasks(),
    segmentation.NAME: segmentation.TASK,
    few_shot.NAME: few_shot.TASK,
}
