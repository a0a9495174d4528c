"""How land reflects light: the mean reflectance of each class in the bands of an optical satellite."""

from __future__ import annotations

import numpy as np

MOST_BANDS = 13

# Columns are bands, named as Sentinel-2's with their centre in nm. The first three make a colour picture; bands are
# given out in this order. Rough figures of textbook spectra: what matters is which classes are alike in which band.
BANDS = (
    "red 665", "green 560", "blue 490", "near infrared 842", "shortwave 1610", "shortwave 2190", "red edge 705",
    "red edge 740", "red edge 783", "narrow infrared 865", "coastal 443", "water vapour 945", "cirrus 1375",
)  # fmt: skip
REFLECTANCE = {
    "field": (0.09, 0.11, 0.06, 0.33, 0.20, 0.12, 0.13, 0.25, 0.30, 0.34, 0.05, 0.16, 0.02),
    "bare": (0.18, 0.15, 0.12, 0.24, 0.30, 0.26, 0.20, 0.21, 0.23, 0.25, 0.10, 0.12, 0.02),
    "water": (0.06, 0.08, 0.09, 0.03, 0.02, 0.01, 0.05, 0.04, 0.03, 0.03, 0.09, 0.02, 0.01),
    "road": (0.15, 0.14, 0.13, 0.18, 0.20, 0.18, 0.16, 0.17, 0.18, 0.18, 0.12, 0.09, 0.01),
    "building": (0.21, 0.18, 0.16, 0.24, 0.25, 0.23, 0.22, 0.23, 0.24, 0.24, 0.15, 0.12, 0.01),
    "tree": (0.06, 0.08, 0.05, 0.26, 0.13, 0.07, 0.09, 0.20, 0.24, 0.27, 0.04, 0.13, 0.02),
}
CLASSES = tuple(REFLECTANCE)


def mean_reflectance(bands: int) -> np.ndarray:
    """The mean of every class in the first bands, float64 [classes, bands]; one band alone is the mean of the visible.

    Args:
        bands: 1 to MOST_BANDS.
    """
    table = np.array(list(REFLECTANCE.values()))
    return table[:, :3].mean(1, keepdims=True) if bands == 1 else table[:, :bands]


def gains(bands: int) -> np.ndarray:
    """What the sensor multiplies each band by, so that its brightest class is at 0.4 of its range: [bands]."""
    return 0.4 / (mean_reflectance(bands).max(0))
