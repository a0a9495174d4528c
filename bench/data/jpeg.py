"""JPEG files by libjpeg-turbo alone: the bits that Pillow gives, which opens each file in Python first."""

from __future__ import annotations

import numpy as np
import simplejpeg

_MAGIC = b"\xff\xd8\xff"
_SUBSAMPLINGS = ("444", "422", "420")  # the usual ones: every version of the library decodes them to the same bits
_SPACES = {"YCbCr": (3, "RGB"), "Gray": (1, "GRAY")}  # as stored: channels, and what they are decoded to


def jpeg_shape(data: bytes) -> tuple[int, int, int] | None:
    """Pixels down, pixels across and channels of a usual JPEG file; None for every other file."""
    if not data.startswith(_MAGIC):
        return None
    try:
        height, width, space, subsampling = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if space not in _SPACES or (space != "Gray" and subsampling not in _SUBSAMPLINGS):
        return None
    return height, width, _SPACES[space][0]


def decode_jpeg(data: bytes, channels: int) -> np.ndarray | None:
    """A file of which `jpeg_shape` told as many channels: uint8 [H, W, C]; None where the library has any complaint.

    Pillow is lenient with some damage: what it makes of such a file, or says of it, is Pillow's.
    """
    try:
        return simplejpeg.decode_jpeg(data, "RGB" if channels == 3 else "GRAY", strict=True)
    except ValueError:
        return None
