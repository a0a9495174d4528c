"""One image from file to square bytes, and every reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485  # a larger file is taken for a decompression bomb
_GRAY_MODES = {"1", "L", "LA", "La"}
_COLOR_MODES = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"}


class UnreadableError(Exception):
    """An image that cannot be used; the message is the reason, in a few words."""


class Header(NamedTuple):
    """What a file says of itself before it is decoded: pixels down, pixels across, 1 (grey) or 3 (colour) channels."""

    height: int
    width: int
    channels: int


def read_header(path: Path) -> Header:
    """Size and channels of an image file, without decoding it.

    Raises:
        UnreadableError: no image, too large, or of a kind that 8 bits a channel cannot hold.
    """
    try:
        with Image.open(path) as image:
            return _check(image)
    except UnreadableError:
        raise
    except Exception as error:  # a broken file can raise anything in a decoder
        raise UnreadableError(_reason(error)) from error


def decode_file(path: Path, image_size: int | None, channels: int) -> np.ndarray:
    """Decodes and fits one file: uint8 [H, W, C].

    Raises:
        UnreadableError: as `read_header`, or the data are damaged or cut short.
    """
    try:
        with Image.open(path) as image:
            _check(image)
            if image_size is not None:
                image.draft(None, (2 * image_size, 2 * image_size))  # JPEG only: large ones are decoded at a fraction
            return fit(image, image_size, channels)
    except UnreadableError:
        raise
    except Exception as error:
        raise UnreadableError(_reason(error)) from error


def fit(image: Image.Image, image_size: int | None, channels: int) -> np.ndarray:
    """Converts to 1 or 3 channels, resizes the shorter side and cuts the centre square.

    Args:
        image: any 8-bit image.
        image_size: side of the square in pixels; None keeps the image as it is.
        channels: 1 or 3.

    Returns:
        uint8 [H, W, C]; the sizes and offsets are torchvision's (Resize, antialiased bicubic, then CenterCrop).
    """
    image = image.convert("L" if channels == 1 else "RGB")
    if image_size is not None:
        width, height = image.size
        short = min(width, height)
        size = (int(image_size * width / short), int(image_size * height / short))
        if size != image.size:
            image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        left, top = round((size[0] - image_size) / 2), round((size[1] - image_size) / 2)
        image = image.crop((left, top, left + image_size, top + image_size))
    array = np.asarray(image)
    return array[:, :, None] if channels == 1 else array


def _check(image: Image.Image) -> Header:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableError(f"{width} x {height} pixels, more than the limit of {MAX_PIXELS}")
    if image.mode not in _GRAY_MODES | _COLOR_MODES:
        raise UnreadableError(f"mode {image.mode}, more than 8 bits a channel; convert it to 8 bits first")
    return Header(height, width, 1 if image.mode in _GRAY_MODES else 3)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, FileNotFoundError):
        return "not there"
    return " ".join(str(error).split()) or type(error).__name__
