"""What a reader of the catalog hands over: images not yet decoded or resized, and all that is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.errors import UserError, unknown

TRAIN, VALIDATION, TEST = 0, 1, 2  # official split codes
UNLABELLED = -1  # label of an image without one
IGNORE = 255  # class of a pixel that counts nowhere


class Packed(Protocol):
    """Images that lie within larger files; it travels to the processes that decode them."""

    def read(self, place: np.ndarray) -> bytes:
        """The encoded image at this place: int64 [3], in the reader's own terms."""


@dataclass(frozen=True)
class RawImages:
    """N images, as an array, as files or within packed files.

    Attributes:
        paths: N names, unique; relative to `root` where the images are files.
        labels: int64 [N], UNLABELLED or an index into `class_names`.
        class_names: in the order of the labels.
        pixels: uint8 [N, H, W, C], or None where the images are files.
        root: folder of the files; without meaning where the images are an array.
        groups: int64 [N], images that must stay on one side of a split share a number; None where nothing is known.
        official: int8 [N], TRAIN, VALIDATION or TEST; None where the set has no official split.
        masks: uint8 [N, H, W], class of each pixel or IGNORE, of the size of `pixels`; None where there are none. With
            masks, `class_names` are the classes of the pixels and `labels` the class that most of an image belongs to.
        boxes: int64 [N, 4], scene, top, left and side of each chip in the pixels of its scene; None: images are whole.
        packed: what finds images within larger files; None where every image has its own.
        places: int64 [N, 3], where `packed` finds each image.
        left_out: files that the reader names but does not hand over, each with the reason.
        notes: what a reader should be told of how the images were read, a sentence each.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    pixels: np.ndarray | None = None
    root: Path = Path()
    groups: np.ndarray | None = None
    official: np.ndarray | None = None
    masks: np.ndarray | None = None
    boxes: np.ndarray | None = None
    packed: Packed | None = None
    places: np.ndarray | None = None
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def of_classes(self, names: Sequence[str] | None) -> RawImages:
        """Only the images of these classes, in this order of classes; images without a label are left out too.

        Raises:
            UserError: there is no such class.
        """
        if names is None:
            return self
        for name in names:
            if name not in self.class_names:
                raise unknown("class", name, self.class_names, "data.classes")
        if self.masks is not None:
            raise UserError("data.classes: the images have a class for every pixel; none of them can be left out")
        number = np.full(len(self.class_names) + 1, UNLABELLED, np.int64)  # the last stands for no label
        number[[self.class_names.index(name) for name in names]] = np.arange(len(names))
        labels = number[self.labels]
        rows = np.flatnonzero(labels >= 0)
        return replace(self._rows(rows), labels=labels[rows], class_names=tuple(names))

    def part(self, start: int, stop: int) -> RawImages:
        """The images from `start` up to `stop`."""
        return self._rows(np.arange(start, min(stop, len(self.paths))))

    def _rows(self, rows: np.ndarray) -> RawImages:
        arrays = {name: getattr(self, name) for name in ("pixels", "groups", "official", "masks", "boxes", "places")}
        kept = {name: None if array is None else array[rows] for name, array in arrays.items()}
        return replace(self, paths=tuple(self.paths[row] for row in rows), labels=self.labels[rows], **kept)
