"""The classes of the shape_scenes test bed: a hue, a pattern and a shape each, no two alike; and their folds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

HUES: Mapping[str, tuple[float, float, float]] = {
    "red": (0.8, 0.3, 0.25),
    "green": (0.3, 0.7, 0.3),
    "blue": (0.3, 0.4, 0.85),
    "yellow": (0.8, 0.7, 0.25),
}
PATTERNS = ("plain", "rows", "columns", "checks", "dots")
SHAPES = ("disc", "box", "triangle", "cross", "blob")
GROUND = "background"


class Look(NamedTuple):
    """What a class looks like."""

    hue: str
    pattern: str
    shape: str

    @property
    def name(self) -> str:
        return "_".join(self)


# Every hue with every pattern, and each of the two with nearly every shape: a Latin square.
LOOKS = tuple(
    Look(hue, pattern, SHAPES[(row + column) % len(SHAPES)])
    for row, hue in enumerate(HUES)
    for column, pattern in enumerate(PATTERNS)
)
CLASSES = (GROUND, *(look.name for look in LOOKS))

# Four novel classes of different hues, patterns and shapes; every hue, pattern and shape is among the base classes too.
SHAPE_FOLDS = tuple(
    tuple(LOOKS[row * len(PATTERNS) + (fold + row) % len(PATTERNS)].name for row in range(len(HUES)))
    for fold in range(len(PATTERNS))
)
