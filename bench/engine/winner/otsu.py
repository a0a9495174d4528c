"""Otsu's threshold, by scikit-image; where a network is traced as torch operations, which a program can take."""

from __future__ import annotations

import numpy as np
import torch
from skimage.filters import threshold_otsu
from torch import Tensor

BINS = 256


def otsu(maps: Tensor) -> Tensor:
    """The threshold of each map, [N] of float32 [N, H, W]; of a map of one value that value."""
    if torch.compiler.is_exporting():
        return traceable(maps)
    return torch.from_numpy(np.array([threshold_otsu(picture) for picture in maps.numpy()], np.float32))


def traceable(maps: Tensor) -> Tensor:
    """The same from 256 bins between the ends of each map, sums taken in another order.

    Where two bins are about equally good, the other one may be taken (4 of 1000 random maps).
    """
    values = maps.flatten(1)
    low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    steps = torch.arange(BINS, dtype=values.dtype, device=values.device)
    edges = torch.cat([steps * ((high - low) / BINS) + low, high], dim=1)
    place = ((values - low) / (high - low) * BINS).nan_to_num(0.0).long().clamp(0, BINS - 1)
    place = place - (values < edges.gather(1, place)).long()  # a rounding may be one bin off
    place = place + ((values >= edges.gather(1, place + 1)) & (place < BINS - 1)).long()
    counts = torch.zeros_like(edges[:, :-1]).scatter_add(1, place, torch.ones_like(values))
    centres = (edges[:, :-1] + edges[:, 1:]) / 2
    weighted = counts * centres
    below, above = counts.cumsum(1), counts.flip(1).cumsum(1).flip(1)
    mean_below, mean_above = weighted.cumsum(1) / below, weighted.flip(1).cumsum(1).flip(1) / above
    between = below[:, :-1] * above[:, 1:] * (mean_below[:, :-1] - mean_above[:, 1:]) ** 2
    chosen = centres.gather(1, between.argmax(1, keepdim=True))
    return torch.where(high > low, chosen, low)[:, 0]
