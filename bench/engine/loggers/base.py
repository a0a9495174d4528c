"""What a live logger is: a place that takes the numbers of one pretraining as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol


class Point(NamedTuple):
    """One number: its name, its value, and where it stands (step, epoch or draw, as the name says)."""

    tag: str
    value: float
    step: int


@dataclass(frozen=True)
class Subject:
    """What is logged: one pretraining.

    Attributes:
        folder: of the logger, shared by all pretrainings: RESULTS/logs/NAME.
        key: of the pretraining; a resumed one goes on under it.
        label: for people.
        parameters: the options.
    """

    folder: Path
    key: str
    label: str
    parameters: Mapping[str, object]


class Logger(Protocol):
    """Built from a `Subject` in the process that trains; imports its library then and not before."""

    library: ClassVar[str]  # module that must be there
    extra: ClassVar[str]  # what installs it

    def __init__(self, subject: Subject) -> None: ...

    @staticmethod
    def prepare(folder: Path) -> None:
        """Sets up what the pretrainings share, once, before any starts."""

    def log(self, points: Sequence[Point]) -> None:
        """Takes numbers."""

    def close(self) -> None:
        """Writes out what is left."""
