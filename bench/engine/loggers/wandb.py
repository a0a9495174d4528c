"""Weights & Biases. Nothing leaves the machine unless WANDB_MODE=online: `wandb sync` sends what was written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from bench.engine.loggers.base import Point, Subject

STEP = "step"
# Nothing but what it is told: its own are the terminal, arguments, user and remote address of the repository.
QUIET = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_disable_stats": True,
}


class Wandb:
    """Writes through `wandb.init`; the pretraining's key is the run's id."""

    library: ClassVar[str] = "wandb"
    extra: ClassVar[str] = "wandb"

    def __init__(self, subject: Subject) -> None:
        import wandb

        self._run = wandb.init(
            project="bench",
            id=subject.key,
            name=subject.label,
            dir=str(subject.folder),
            config=dict(subject.parameters),
            mode=os.environ.get("WANDB_MODE", "offline"),
            resume="allow",
            settings=dict(QUIET),
        )
        self._run.define_metric("*", step_metric=STEP)  # epochs, steps and draws each have an axis of their own

    @staticmethod
    def prepare(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            self._run.log({point.tag: point.value, STEP: point.step})

    def close(self) -> None:
        self._run.finish()
