"""Labels and calibrated probabilities of a folder of images, as one Parquet file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch

from bench.data.decode import UnreadableError, decode_file, read_header
from bench.data.listing import list_images
from bench.data.values import ValueRange
from bench.engine.winner.model import load_winner, logits_of
from bench.engine.winner.words import calibration
from bench.errors import UserError
from bench.store.files import replacing

_BATCH = 256
_NAMED = 20  # unreadable files that are listed


class Predicted(NamedTuple):
    """How a folder was read.

    Attributes:
        count: images that were answered.
        skipped: paths of files that cannot be read, each with the reason.
        calibration: what is known of the probabilities, in words.
    """

    count: int
    skipped: tuple[tuple[str, str], ...]
    calibration: str

    def lines(self, to: Path) -> list[str]:
        """What to say of it."""
        named = [f"skipped {path}: {reason}" for path, reason in self.skipped[:_NAMED]]
        if len(self.skipped) > _NAMED:
            named.append(f"skipped {len(self.skipped) - _NAMED} more")
        total = self.count + len(self.skipped)
        return [*named, f"{to}: {self.count} of {total} images", self.calibration]


def predict(winner: Path, images: Path, to: Path) -> Predicted:
    """Reads every image under a folder, as the images of the winner's data set were read, and writes the answers.

    Args:
        winner: folder that `bench weights best --to DIR` made.
        images: folder, searched recursively; links out of it are refused.
        to: Parquet file: path (relative, sorted), label (name of the likeliest class), and a probability of each class.

    Raises:
        UserError: no winner, no folder, no image in it, or none that can be read.
    """
    model, card = load_winner(winner)
    if not images.is_dir():
        raise UserError(f"IMAGES: no folder {str(images)!r}")
    paths = [file.path for file in list_images(images)]
    if not paths:
        raise UserError(f"IMAGES: no image in {str(images)!r}")
    parts, skipped = [], []
    for start in range(0, len(paths), _BATCH):
        kept, pixels, unread = _read(images, paths[start : start + _BATCH], card["input"])
        skipped += unread
        if kept:
            shares = torch.softmax(logits_of(model, pixels, np.arange(len(pixels))).double(), 1).numpy()
            parts.append(_table(kept, shares, card["classes"]))
    if not parts:
        raise UserError(f"IMAGES: none of {len(paths)} images in {str(images)!r} can be read: {': '.join(skipped[0])}")
    table = pl.concat(parts)
    with replacing(to) as temporary:
        table.write_parquet(temporary)
    return Predicted(len(table), tuple(skipped), calibration(card))


def columns(classes: Sequence[str]) -> list[str]:
    """A column for each class: `p_` and its name in letters, digits and _, numbered where two would be the same."""
    found: list[str] = []
    taken: set[str] = set()
    for name in classes:
        stem = "p_" + re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
        column, number = stem, 1
        while column in taken or column == "p_":
            number += 1
            column = f"{stem}_{number}"
        taken.add(column)
        found.append(column)
    return found


def _table(paths: Sequence[str], shares: np.ndarray, classes: Sequence[str]) -> pl.DataFrame:
    labels = [classes[index] for index in shares.argmax(1)]
    shown = {name: shares[:, index] for index, name in enumerate(columns(classes))}
    return pl.DataFrame({"path": list(paths), "label": labels, **shown})


def _read(
    root: Path, paths: Sequence[str], given: Mapping[str, Any]
) -> tuple[list[str], np.ndarray, list[tuple[str, str]]]:
    """The images that can be read, uint8 [n, H, W, C] with their paths, and the others with the reason."""
    kept, pixels, skipped = [], [], []
    for path in paths:
        try:
            pixels.append(_decode(root / path, given))
            kept.append(path)
        except UnreadableError as error:
            skipped.append((path, str(error)))
    return kept, np.stack(pixels) if pixels else np.empty(0, np.uint8), skipped


def _decode(path: Path, given: Mapping[str, Any]) -> np.ndarray:
    """One image in the shape that the network reads.

    Raises:
        UnreadableError: as `decode_file`; or of another shape, where the network's is no square to be fitted to.
    """
    read_header(path)  # too large or no image: said before any of it is decoded
    pixels = decode_file(path, given["side"], given["channels"], _values(given))
    if pixels.shape[:2] != (given["height"], given["width"]):
        height, width = pixels.shape[:2]
        raise UnreadableError(f"{height} x {width} pixels where {given['height']} x {given['width']} are wanted")
    return pixels


def _values(given: Mapping[str, Any]) -> ValueRange | None:
    if given["value_range"] is None:
        return None
    low, high = (np.full(given["channels"], value, np.float32) for value in given["value_range"])
    return ValueRange(low, high)
