"""Aim: a repository in the folder. Look with `aim up --repo RESULTS/logs/aim`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.engine.loggers.base import Point, Subject

# Nothing but what it is told: its own are the terminal, and of the system the arguments and all of the environment.
QUIET: dict[str, Any] = {"log_system_params": False, "capture_terminal_logs": False, "system_tracking_interval": None}


class Aim:
    """Writes through `aim.Run`; a file beside the repository says which run a pretraining's key has."""

    library: ClassVar[str] = "aim"
    extra: ClassVar[str] = "aim"

    def __init__(self, subject: Subject) -> None:
        import aim

        known = subject.folder / f"{subject.key}.run"
        number = known.read_text() if known.is_file() else None
        self._run = aim.Run(run_hash=number, repo=str(subject.folder), experiment="bench", **QUIET)
        if number is None:
            known.write_text(self._run.hash)
            self._run.name = subject.label
            self._run["options"] = dict(subject.parameters)

    @staticmethod
    def prepare(folder: Path) -> None:
        import aim

        folder.mkdir(parents=True, exist_ok=True)
        aim.Repo.from_path(str(folder), init=True)

    def log(self, points: Sequence[Point]) -> None:
        for point in points:
            self._run.track(point.value, name=point.tag, step=point.step)

    def close(self) -> None:
        self._run.close()
