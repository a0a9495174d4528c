"""One image from file to square bytes, and every reason why not."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from bench.data.jpeg import decode_jpeg, jpeg_shape
from bench.data.values import MOST_BANDS, ValueRange, convert_bands, fit_bands, read_bands, tiff_shape

MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485  # a larger file is taken for a decompression bomb
_WHOLE = 1 << 26  # bytes of a file that is read before it is known to be an image
MAX_BYTES = 1 << 30  # of the values of a TIFF of many bands or of more than 8 bits, at 4 bytes each or more
# The decoders that a file may ask for, whatever its name says: no EPS, which would start Ghostscript, and no relics.
FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "DIB", "PPM", "AVIF", "JPEG2000")
_GRAY_MODES = {"1", "L", "LA", "La"}
_COLOR_MODES = {"P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV"}
_DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

Source = Path | str | bytes  # a file, or what one holds


class UnreadableError(Exception):
    """An image that cannot be used; the message is the reason, in a few words."""


class UnlikeError(Exception):
    """An image that can be used, but whose header is not the one expected."""


class Header(NamedTuple):
    """What a file says of itself before it is decoded: pixels down, pixels across, channels, bits a value.

    Channels are 1 (grey), 3 (colour) or the bands of a TIFF.
    """

    height: int
    width: int
    channels: int
    bits: int = 8

    @property
    def deep(self) -> bool:
        """Whether a byte cannot hold its values."""
        return self.bits > 8


def read_header(source: Source) -> Header:
    """Size, channels and depth of an image, without decoding it.

    Raises:
        UnreadableError: no image, too large, or of a kind that cannot be used.
    """
    try:
        found = _tiff_header(source)
        if found is not None:
            return found
        with open_image(source) as image:
            return _check(image)
    except UnreadableError:
        raise
    except Exception as error:  # a broken file can raise anything in a decoder
        raise UnreadableError(_reason(error)) from error


def decode_file(
    source: Source,
    image_size: int | None,
    channels: int,
    values: ValueRange | None = None,
    like: Header | None = None,
) -> np.ndarray:
    """Decodes and fits one image: uint8 [H, W, C].

    Args:
        source: a file, or what one holds.
        image_size: side of the square in pixels; None keeps the image as it is.
        channels: bands wanted.
        values: what becomes 0 and 255 where an image has more than 8 bits a value.
        like: the header that the image should have; None: any.

    Raises:
        UnreadableError: as `read_header`, the data are damaged or cut short, or the bands are others.
        UnlikeError: the header is another.
    """
    try:
        bands = _tiff_bands(source)
        if bands is not None:
            if like is not None:
                raise UnlikeError
            return _reduce(bands, image_size, channels, values)
        source = _read(source)
        found = _plain_jpeg(source, image_size, channels, like)
        if found is not None:
            return found
        with open_image(source) as image:
            header = _check(image)
            if like is not None and header != like:
                raise UnlikeError
            if header.deep:
                return _reduce(np.asarray(image)[:, :, None], image_size, channels, values)
            if channels not in (1, 3):
                raise UnreadableError(f"{header.channels} bands where {channels} are wanted")
            if image_size is not None:
                image.draft(None, (2 * image_size, 2 * image_size))  # JPEG only: large ones are decoded at a fraction
            return fit(image, image_size, channels)
    except (UnreadableError, UnlikeError):
        raise
    except Exception as error:
        raise UnreadableError(_reason(error)) from error


def read_values(source: Source, channels: int) -> np.ndarray:
    """The values of an image of more than 8 bits, nothing scaled or resized: [H, W, C].

    Raises:
        UnreadableError: as `decode_file`.
    """
    try:
        bands = _tiff_bands(source)
        if bands is None:
            with open_image(source) as image:
                _check(image)
                bands = np.asarray(image)[:, :, None]
        return convert_bands(bands, channels)
    except UnreadableError:
        raise
    except Exception as error:
        raise UnreadableError(_reason(error)) from error


def open_image(source: Source) -> Image.Image:
    """An image whose header is read and of which nothing is decoded yet, by the decoders of FORMATS alone.

    Raises:
        UnreadableError: it has no pixels, or more than MAX_PIXELS.
        Exception: whatever the decoder raises.
    """
    image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
    try:
        _check_size(*image.size)
    except UnreadableError:
        image.close()
        raise
    return image


def _tiff_header(source: Source) -> Header | None:
    """The header of a TIFF that Pillow would not read as it is; None for every other file."""
    if not _is_tiff(source):
        return None
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        height, width, bands, bits, usual = tiff_shape(file)
    if usual:
        return None
    _check_size(width, height)
    if bands > MOST_BANDS:
        raise UnreadableError(f"{bands} bands, more than the limit of {MOST_BANDS}")
    if height * width * bands * max(4, bits // 8) > MAX_BYTES:
        raise UnreadableError(
            f"{width} x {height} pixels of {bands} bands, more than the limit of {MAX_BYTES >> 20} MiB"
        )
    return Header(height, width, bands, bits)


def _tiff_bands(source: Source) -> np.ndarray | None:
    """The bands of such a TIFF; None for every other file."""
    if _tiff_header(source) is None:
        return None
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        return read_bands(file)


def _is_tiff(source: Source) -> bool:
    if isinstance(source, bytes):
        return source.startswith(_TIFF_MAGIC)
    if not str(source).lower().endswith((".tif", ".tiff")):
        return False
    with open(source, "rb") as file:
        return file.read(4).startswith(_TIFF_MAGIC)


def _read(source: Source) -> Source:
    """What a file holds; the file itself where that would take much memory."""
    if isinstance(source, bytes):
        return source
    with open(source, "rb", buffering=0) as file:
        return file.readall() if os.fstat(file.fileno()).st_size <= _WHOLE else source


def _plain_jpeg(source: Source, image_size: int | None, channels: int, like: Header | None) -> np.ndarray | None:
    """A usual JPEG file that needs no other size and no other channels; None where Pillow has to look at it."""
    shape = jpeg_shape(source) if isinstance(source, bytes) else None
    if shape is None or not isinstance(source, bytes):
        return None
    height, width, bands = shape
    _check_size(width, height)
    if like is not None and Header(*shape) != like:
        raise UnlikeError
    if bands != channels or (image_size is not None and (height, width) != (image_size, image_size)):
        return None
    return decode_jpeg(source, channels)


def _reduce(bands: np.ndarray, image_size: int | None, channels: int, values: ValueRange | None) -> np.ndarray:
    fitted = fit_bands(convert_bands(bands, channels), image_size)
    if bands.dtype == np.uint8:
        return np.ascontiguousarray(np.rint(np.clip(fitted, 0, 255)).astype(np.uint8))
    if values is None:
        raise UnreadableError("more than 8 bits a value, and no range of values is known for it")
    return np.ascontiguousarray(values.to_bytes(fitted))


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
    if image.mode in _DEEP_MODES:
        return Header(height, width, 1, 32 if image.mode in ("I", "F") else 16)
    if image.mode not in _GRAY_MODES | _COLOR_MODES:
        raise UnreadableError(f"mode {image.mode}, which is neither grey nor colour; convert it first")
    return Header(height, width, 1 if image.mode in _GRAY_MODES else 3)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise UnreadableError(f"{width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise UnreadableError(f"{width} x {height} pixels, more than the limit of {MAX_PIXELS}")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, FileNotFoundError):
        return "not there"
    return " ".join(str(error).split()) or type(error).__name__
