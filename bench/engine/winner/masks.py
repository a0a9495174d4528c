"""A segmentation network's answers on a folder of images: a mask beside each row of a Parquet file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image

from bench.data.batches import to_float
from bench.data.decode import UnreadableError
from bench.data.shape import ImageShape
from bench.engine.winner.answers import Predicted, Skipped, columns, decode, none_read
from bench.engine.winner.chips import mapped
from bench.engine.winner.segmenter import SegmentationModel
from bench.engine.winner.words import calibration
from bench.errors import UserError
from bench.store.files import replacing

BESIDE = "_masks"  # behind the stem of the Parquet file: the folder of the masks


def predict_masks(
    model: SegmentationModel, card: Mapping[str, Any], images: Path, paths: Sequence[str], to: Path
) -> Predicted:
    """Writes the class of every pixel of every image.

    Args:
        model: as it was loaded.
        card: the part of it that is the winner's.
        images: folder of the images.
        paths: of the images, relative to the folder.
        to: Parquet file: path, mask (file, relative to this one), confidence (the probability of the class that a pixel
            is given, mean over the pixels), and each class's share of the pixels. The masks are index PNGs of the
            image's size in the folder STEM_masks, shown in colours; 0 is the first class.

    Raises:
        UserError: the masks would lie among the images, or no image can be read.
    """
    folder, classes = masks_folder(images, to), list(card["classes"])
    rows: list[dict[str, Any]] = []
    skipped: Skipped = []
    for path, name in zip(paths, mask_names(paths), strict=True):
        try:
            picture = decode(images / path, card["input"], None)
            found = mapped(picture, _shape(card), card["input"]["cut"], len(classes), _answer(model))
        except UnreadableError as error:
            skipped.append((path, str(error)))
            continue
        write_mask(found.classes, folder / name)
        shares = np.bincount(found.classes.ravel(), minlength=len(classes)) / found.classes.size
        named = dict(zip(columns(classes, "share"), shares.tolist(), strict=True))
        rows.append({"path": path, "mask": f"{folder.name}/{name}", "confidence": found.confidence, **named})
    if not rows:
        raise none_read(images, skipped)
    with replacing(to) as temporary:
        pl.DataFrame(rows).write_parquet(temporary)
    return Predicted(len(rows), tuple(skipped), calibration(card), folder)


def masks_folder(images: Path, to: Path) -> Path:
    """Where the masks go. Raises UserError where they would be taken for images the next time."""
    folder = to.parent / f"{to.stem}{BESIDE}"
    if folder.resolve().is_relative_to(images.resolve()):
        raise UserError(f"--to: masks in {str(folder)!r} would lie among the images; valid: a place outside IMAGES")
    return folder


def mask_names(paths: Sequence[str]) -> list[str]:
    """The file of each image's mask: its path ending in .png; where two would be one, .png behind the whole path."""
    stems = [str(PurePosixPath(path).with_suffix(".png")) for path in paths]
    shared, found = Counter(stems), dict[str, None]()
    for path, stem in zip(paths, stems, strict=True):
        name = stem if shared[stem] == 1 else f"{path}.png"
        while name in found:
            name += ".png"
        found[name] = None
    return list(found)


def write_mask(classes: np.ndarray, path: Path) -> None:
    """Writes classes, uint8 [H, W], as an index PNG with a colour for each number."""
    picture = Image.fromarray(classes)
    picture.putpalette(_colours().tobytes())
    with replacing(path) as temporary:
        picture.save(temporary, "PNG")


def _colours() -> np.ndarray:
    """A colour for each number of a class, uint8 [256, 3], as PASCAL VOC has them: its bits, from the highest down."""
    numbers = np.arange(256)
    found = np.zeros((256, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            found[:, channel] |= (numbers >> channel & 1).astype(np.uint8) << (7 - place)
        numbers >>= 3
    return found


def _answer(model: SegmentationModel) -> Any:
    @torch.inference_mode()
    def answer(chips: np.ndarray) -> np.ndarray:
        probabilities: np.ndarray = torch.softmax(model(to_float(chips)), 1).numpy()
        return probabilities

    return answer


def _shape(card: Mapping[str, Any]) -> ImageShape:
    return ImageShape(card["input"]["channels"], card["input"]["height"], card["input"]["width"])
