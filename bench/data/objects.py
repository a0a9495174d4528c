"""The single things of a mask: connected pixels of one class."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def objects(mask: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the connected parts of each class; pixels touch by their sides.

    Args:
        mask: uint8 [H, W], class of each pixel or 255.
        n_classes: K; larger values are no object.

    Returns:
        int32 [H, W], 0 outside and else the number of the object, from 1; and int64 [objects], the class of each.
    """
    numbers = np.zeros(mask.shape, np.int32)
    classes: list[int] = []
    for label in range(n_classes):
        found, count = ndimage.label(mask == label)
        numbers[found > 0] = found[found > 0] + len(classes)
        classes += [label] * count
    return numbers, np.array(classes, np.int64)
