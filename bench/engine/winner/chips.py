"""An image of any size for a network of one size: cut like those of the data set, put together as for scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from bench.data.catalog import Dataset
from bench.data.decode import UnreadableError
from bench.data.scenes import starts
from bench.data.shape import ImageShape
from bench.store.datasets import GENERATED
from bench.study.spec import DataSpec

MOST_BYTES = 4 * 2**30  # of the probabilities of one image
_BATCH = 64  # chips answered at a time
Answer = Callable[[np.ndarray], np.ndarray]  # uint8 [n, H, W, C] -> probabilities, float32 [n, K, H, W]


class Joined(NamedTuple):
    """Probabilities of an image in the network's scale: sums over its chips, float64 [K, h, w], and how many [h, w]."""

    sums: np.ndarray
    shown: np.ndarray


class Mapped(NamedTuple):
    """An image's classes, uint8 [H, W], and the mean over its pixels of the largest probability."""

    classes: np.ndarray
    confidence: float


def cut_of(dataset: Dataset, spec: DataSpec) -> dict[str, int] | None:
    """Height and width of a chip and the pixels that neighbours share, in pixels of an image; None: taken whole.

    Images that were neither cut nor resized are of one size, which is the chip of larger ones.
    """
    boxes, shape = dataset.images.boxes, dataset.shape
    if boxes is not None:
        side = int(boxes[0, 3])
        return {"height": side, "width": side, "overlap": spec.overlap}
    if spec.image_size is not None and spec.name not in GENERATED:
        return None
    return {"height": shape.height, "width": shape.width, "overlap": 0}


def mapped(
    picture: np.ndarray, shape: ImageShape, cut: Mapping[str, Any] | None, n_classes: int, answer: Answer
) -> Mapped:
    """The classes of an image, uint8 [H, W, C], in its own pixels: the likeliest by `joined`.

    Raises:
        UnreadableError: as `joined`.
    """
    total, shown = joined(picture, shape, cut, n_classes, answer)
    confidence = float((total.max(0) / shown).mean())
    return Mapped(put_back(total.argmax(0).astype(np.uint8), picture), confidence)


def put_back(classes: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Classes in the network's scale, uint8 [h, w], in the pixels of their image [H, W, C], by the nearest."""
    size = (picture.shape[1], picture.shape[0])
    return np.asarray(Image.fromarray(classes).resize(size, Image.Resampling.NEAREST))


def joined(
    picture: np.ndarray, shape: ImageShape, cut: Mapping[str, Any] | None, n_classes: int, answer: Answer
) -> Joined:
    """Probabilities of an image, uint8 [H, W, C]: those of its chips, to be averaged where they overlap.

    Chips and whole images are resized to the network's shape as those of the data set were.

    Raises:
        UnreadableError: the image is smaller than a chip, or its probabilities would take more than MOST_BYTES.
    """
    height, width = picture.shape[:2]
    tall, wide = (height, width) if cut is None else (cut["height"], cut["width"])
    if height < tall or width < wide:
        raise UnreadableError(f"{height} x {width} pixels, smaller than the network's {tall} x {wide}")
    overlap = 0 if cut is None else cut["overlap"]
    places = np.array([(top, left) for top in starts(height, tall, overlap) for left in starts(width, wide, overlap)])
    corners = np.rint(places * [shape.height / tall, shape.width / wide]).astype(np.int64)
    size = corners.max(0) + np.array([shape.height, shape.width])
    if 8 * n_classes * int(size.prod()) > MOST_BYTES:
        raise UnreadableError(f"{height} x {width} pixels of {n_classes} classes, more than {MOST_BYTES >> 30} GiB")
    total, shown = np.zeros((n_classes, *size)), np.zeros(size)
    for start in range(0, len(places), _BATCH):
        part = slice(start, start + _BATCH)
        chips = np.stack([chip_of(picture, (left, top, left + wide, top + tall), shape) for top, left in places[part]])
        for (top, left), probabilities in zip(corners[part], answer(chips), strict=True):
            window = (slice(top, top + shape.height), slice(left, left + shape.width))
            total[:, *window] += probabilities
            shown[window] += 1
    return Joined(total, shown)


def chip_of(picture: np.ndarray, box: tuple[int, int, int, int], shape: ImageShape) -> np.ndarray:
    """A part of an image (left, top, right, bottom) in the network's size, uint8 [H, W, C]; as the data set's: bicubic.

    Where it is resized, the pixels around it have a say at its border.
    """
    left, top, right, bottom = box
    if (bottom - top, right - left) == (shape.height, shape.width):
        return picture[top:bottom, left:right]
    bands = [Image.fromarray(np.ascontiguousarray(picture[..., band])) for band in range(picture.shape[2])]
    size = (shape.width, shape.height)
    return np.stack([np.asarray(band.resize(size, Image.Resampling.BICUBIC, box=box)) for band in bands], axis=2)
