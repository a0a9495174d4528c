"""The journal: a byte for every training step (`s`) and every row scored (`r`), and which process did the last."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import ModuleType
from typing import Any

_DIGITS = 10  # of a process id


class Journal:
    """Kept by every process that works; a byte is appended whole, however many processes write."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._last = os.open(_last(path), os.O_WRONLY | os.O_CREAT)

    def note(self, what: bytes) -> None:
        os.write(self._file, what)
        os.pwrite(self._last, b"%*d" % (_DIGITS, os.getpid()), 0)


def last_at_work(path: Path) -> int | None:
    """Id of the process that wrote to the journal last."""
    said = _last(path).read_bytes() if _last(path).exists() else b""
    return int(said) if len(said) == _DIGITS else None


def _last(path: Path) -> Path:
    return path.with_name(f"{path.name}-last")


def count_steps(loop: ModuleType, journal: Journal, pause: float = 0.0) -> None:
    """Has `bench.training.loop` note its steps, and write a checkpoint behind every one of them.

    Args:
        pause: seconds that a step takes longer: there is time then to hit the process that does it.
    """
    loop.pretrain.__kwdefaults__["checkpoint_seconds"] = 0.0
    step = loop._Training.step

    def noted(training: Any, network: Any) -> None:
        step(training, network)
        journal.note(b"s")
        time.sleep(pause)

    loop._Training.step = noted


def count_rows(evaluate: ModuleType, journal: Journal) -> None:
    """Has `bench.engine.evaluate` note the rows that it scored."""
    score = evaluate.score_rows

    def noted(*arguments: Any, **more: Any) -> Any:
        frame = score(*arguments, **more)
        journal.note(b"r" * frame.height)
        return frame

    evaluate.score_rows = noted
