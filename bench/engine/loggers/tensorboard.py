"""TensorBoard: event files, one folder a pretraining. Look with `tensorboard --logdir RESULTS/logs/tensorboard`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from bench.engine.loggers.base import Point, Subject


class TensorBoard:
    """Writes through `torch.utils.tensorboard`."""

    library: ClassVar[str] = "tensorboard"
    extra: ClassVar[str] = "loggers"

    def __init__(self, subject: Subject) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = subject.folder / subject.label
        first = not folder.exists()
        self._writer = SummaryWriter(str(folder))
        if first:
            self._writer.add_text("options", json.dumps(subject.parameters, indent=1, sort_keys=True))

    @staticmethod
    def prepare(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            self._writer.add_scalar(point.tag, point.value, point.step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
