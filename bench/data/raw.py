"""What a reader of the catalog hands over: images not yet decoded or resized, and all that is known of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

TRAIN, VALIDATION, TEST = 0, 1, 2  # official split codes
UNLABELLED = -1  # label of an image without one


@dataclass(frozen=True)
class RawImages:
    """N images, as an array or as files.

    Attributes:
        paths: N names, unique; relative to `root` where the images are files.
        labels: int64 [N], UNLABELLED or an index into `class_names`.
        class_names: in the order of the labels.
        pixels: uint8 [N, H, W, C], or None where the images are files.
        root: folder of the files; without meaning where the images are an array.
        groups: int64 [N], images that must stay on one side of a split share a number; None where nothing is known.
        official: int8 [N], TRAIN, VALIDATION or TEST; None where the set has no official split.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    pixels: np.ndarray | None = None
    root: Path = Path()
    groups: np.ndarray | None = None
    official: np.ndarray | None = None

    def part(self, start: int, stop: int) -> RawImages:
        """The images from `start` up to `stop`."""
        rows = slice(start, stop)
        return replace(
            self,
            paths=self.paths[rows],
            labels=self.labels[rows],
            pixels=None if self.pixels is None else self.pixels[rows],
            groups=None if self.groups is None else self.groups[rows],
            official=None if self.official is None else self.official[rows],
        )
