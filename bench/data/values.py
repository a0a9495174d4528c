"""Images of more than 8 bits or other than 1 or 3 bands: read as they are, and reduced to bytes by one stated rule."""

from __future__ import annotations

from itertools import islice
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

MOST_BANDS = 13
_MOST_PAGES = 256
LOW, HIGH = 0.5, 99.5  # percentiles of a band that become 0 and 255
SAMPLE = 400  # images of which the percentiles are taken
_SAMPLE_PIXELS = 4096  # pixels of each of them, evenly spread
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's grey


class ValueRange(NamedTuple):
    """The values of each band that become 0 and 255: float32 [C] each."""

    low: np.ndarray
    high: np.ndarray

    def to_bytes(self, bands: np.ndarray) -> np.ndarray:
        """float32 [H, W, C] -> uint8 [H, W, C]; what lies outside of the range is cut off, NaN becomes 0."""
        scaled = (bands - self.low) * (255 / np.maximum(self.high - self.low, 1e-12))
        return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), 0, 255)).astype(np.uint8)


def read_bands(file: BinaryIO, channels: int | None = None) -> np.ndarray:
    """The values of a TIFF, bands last, nothing scaled: [H, W, C].

    Args:
        file: a TIFF, at its beginning.
        channels: bands wanted: those of the file, 3 from 1 (repeated) or 1 from 3 (luminance); None: those of the file.

    Raises:
        ValueError: it is no TIFF of one picture, or has other bands.
    """
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        series = tiff.series[0]
        bands = _bands_last(series.asarray(), series.axes)
    return bands if channels is None else convert_bands(bands, channels)


def tiff_shape(file: BinaryIO) -> tuple[int, int, int, int, bool]:
    """Height, width, bands and bits a value of a TIFF, and whether Pillow reads it as a usual picture.

    Raises:
        ValueError: it is no TIFF of one picture.
    """
    import tifffile

    with tifffile.TiffFile(file) as tiff:
        if sum(1 for _ in islice(tiff.pages, _MOST_PAGES + 1)) > _MOST_PAGES:  # or a chain that comes back to itself
            raise ValueError(f"a TIFF of more than {_MOST_PAGES} pages; one picture is needed")
        series, page = tiff.series[0], tiff.pages.first
        size = dict(zip(series.axes, series.shape, strict=True))
        _axes_kept(series.axes, series.shape)
        bands = int(np.prod([length for axis, length in size.items() if axis not in "YX"], dtype=int))
        bits = int(page.dtype.itemsize * 8) if page.dtype is not None else 0
        photometric = getattr(page.photometric, "name", "")
        alpha = photometric == "RGB" and bands == 4 and any(int(sample) in (1, 2) for sample in page.extrasamples)
        usual = bits <= 8 and (bands in (1, 3) or alpha or photometric == "SEPARATED")
    return size["Y"], size["X"], bands, bits, usual


def _bands_last(values: np.ndarray, axes: str) -> np.ndarray:
    kept = _axes_kept(axes, values.shape)
    values = values.reshape([length for axis, length in zip(axes, values.shape, strict=True) if axis in kept])
    order = [kept.index("Y"), kept.index("X"), *(index for index, axis in enumerate(kept) if axis not in "YX")]
    values = values.transpose(order)
    return values if values.ndim == 3 else values[:, :, None]


def _axes_kept(axes: str, shape: tuple[int, ...]) -> list[str]:
    """The axes of a picture: Y, X and, where there are several bands, one for them.

    Raises:
        ValueError: it is no picture.
    """
    kept = [axis for axis, length in zip(axes, shape, strict=True) if length > 1 or axis in "YX"]
    if "Y" not in kept or "X" not in kept or len(kept) > 3:
        raise ValueError(f"a TIFF with axes {axes}; one picture is needed, with bands or without")
    return kept


def convert_bands(bands: np.ndarray, channels: int) -> np.ndarray:
    """[H, W, C] with the bands wanted.

    Raises:
        ValueError: they cannot be made of those at hand.
    """
    found = bands.shape[2]
    if found == channels:
        return bands
    if found == 1 and channels == 3:
        return np.repeat(bands, 3, axis=2)
    if found == 3 and channels == 1:
        return (bands.astype(np.float32) @ _LUMINANCE)[:, :, None]
    raise ValueError(f"{found} bands where {channels} are wanted")


def fit_bands(bands: np.ndarray, image_size: int | None) -> np.ndarray:
    """Resizes the shorter side and cuts the centre square, band by band, as `bench.data.decode.fit` does.

    Args:
        bands: [H, W, C] of any number type.
        image_size: side of the square in pixels; None keeps the image as it is.

    Returns:
        float32 [H, W, C].
    """
    bands = bands.astype(np.float32)
    if image_size is None:
        return bands
    height, width = bands.shape[:2]
    short = min(width, height)
    size = (int(image_size * width / short), int(image_size * height / short))
    if size != (width, height):
        planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in bands.transpose(2, 0, 1)]
        bands = np.stack([np.asarray(plane.resize(size, Image.Resampling.BICUBIC)) for plane in planes], axis=2)
    left, top = round((size[0] - image_size) / 2), round((size[1] - image_size) / 2)
    return bands[top : top + image_size, left : left + image_size]


def range_of(pictures: list[np.ndarray]) -> ValueRange:
    """The percentiles LOW and HIGH of each band over some pictures [H, W, C], from evenly spread pixels of each."""
    values = np.concatenate([_spread(picture) for picture in pictures]).astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    low, high = np.nanpercentile(values, [LOW, HIGH], axis=0)
    return ValueRange(low.astype(np.float32), high.astype(np.float32))


def _spread(picture: np.ndarray) -> np.ndarray:
    pixels = picture.reshape(-1, picture.shape[2])
    return pixels[:: max(1, len(pixels) // _SAMPLE_PIXELS)]


def describe_range(values: ValueRange, how: str) -> str:
    """The rule in one sentence, for people."""
    bands = ", ".join(f"{low:g} to {high:g}" for low, high in zip(values.low, values.high, strict=True))
    return f"values of more than 8 bits were reduced to bytes: {bands} became 0 to 255, {how}"
