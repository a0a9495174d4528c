"""What answers on a folder of images have in common: how files are read, columns named, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.data.decode import UnreadableError, decode_file, read_header
from bench.data.listing import list_images
from bench.data.values import ValueRange
from bench.errors import UserError

_NAMED = 20  # unreadable files that are listed
Skipped = list[tuple[str, str]]  # paths of files that cannot be read, each with the reason


class Predicted(NamedTuple):
    """How a folder was read.

    Attributes:
        count: images that were answered.
        skipped: paths of files that cannot be read, each with the reason.
        calibration: what is known of the probabilities, in words.
        masks: folder of the masks, where pixels were answered.
        notes: what else there is to say.
    """

    count: int
    skipped: tuple[tuple[str, str], ...]
    calibration: str
    masks: Path | None = None
    notes: tuple[str, ...] = ()

    def lines(self, to: Path) -> list[str]:
        """What to say of it."""
        named = [f"skipped {path}: {reason}" for path, reason in self.skipped[:_NAMED]]
        if len(self.skipped) > _NAMED:
            named.append(f"skipped {len(self.skipped) - _NAMED} more")
        total = self.count + len(self.skipped)
        beside = "" if self.masks is None else f"; masks in {self.masks}"
        return [*self.notes, *named, f"{to}: {self.count} of {total} images{beside}", self.calibration]


def listed(images: Path) -> list[str]:
    """Paths of the images under a folder, relative to it, sorted.

    Raises:
        UserError: no folder, or no image in it.
    """
    if not images.is_dir():
        raise UserError(f"IMAGES: no folder {str(images)!r}")
    paths = [file.path for file in list_images(images)]
    if not paths:
        raise UserError(f"IMAGES: no image in {str(images)!r}")
    return paths


def none_read(images: Path, skipped: Skipped) -> UserError:
    """The error where no image can be read."""
    return UserError(f"IMAGES: none of {len(skipped)} images in {str(images)!r} can be read: {': '.join(skipped[0])}")


def decode(path: Path, given: Mapping[str, Any], side: int | None) -> np.ndarray:
    """One image in the channels that the network reads, uint8 [H, W, C], fitted to a square of this side if any.

    Raises:
        UnreadableError: as `decode_file`.
    """
    read_header(path)  # too large or no image: said before any of it is decoded
    return decode_file(path, side, given["channels"], _values(given))


def columns(classes: Sequence[str], prefix: str = "p") -> list[str]:
    """A column for each class: prefix, _ and its name in letters, digits and _; numbered where two would be equal."""
    found: list[str] = []
    taken: set[str] = set()
    for name in classes:
        stem = f"{prefix}_" + re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
        column, number = stem, 1
        while column in taken or column == f"{prefix}_":
            number += 1
            column = f"{stem}_{number}"
        taken.add(column)
        found.append(column)
    return found


def wrong_shape(pixels: np.ndarray, given: Mapping[str, Any]) -> UnreadableError:
    """The reason to leave out an image that is not of the network's shape."""
    height, width = pixels.shape[:2]
    return UnreadableError(f"{height} x {width} pixels where {given['height']} x {given['width']} are wanted")


def _values(given: Mapping[str, Any]) -> ValueRange | None:
    if given["value_range"] is None:
        return None
    low, high = (np.full(given["channels"], value, np.float32) for value in given["value_range"])
    return ValueRange(low, high)
