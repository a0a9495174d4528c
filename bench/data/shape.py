"""The shape of one image as a network sees it."""

from __future__ import annotations

from typing import NamedTuple


class ImageShape(NamedTuple):
    """Channels (1 = grey, 3 = RGB), height and width in pixels."""

    channels: int
    height: int
    width: int
