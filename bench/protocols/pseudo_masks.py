"""Masks without labels of pixels: where the class token of one image finds keys like its own.

arXiv 2307.03407, section 4.4. As published: the mean over heads of the cosine between the class token's query and the
keys of the last block, (1 + cosine) / 2 > 0.4, the query's image marked by the support's class token. Which pixels
are salient does not depend on the class: the image-level label only empties the mask of an absent one.
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.filters import threshold_otsu
from torch import Tensor, nn
from torch.nn import functional

from bench.study.protocols import FewShotOptions


def similarity(queries: Tensor, keys: Tensor, kind: str) -> Tensor:
    """How much each patch is like the class token, in each head, in [0, 1]; the mean over blocks.

    Args:
        queries: of class tokens [N, A, heads, d].
        keys: of patches [N, A, heads, T, d].
        kind: "cosine": (1 + cosine) / 2; "softmax": attention among the patches, relative to its largest.

    Returns:
        [N, heads, T].
    """
    if kind == "cosine":
        cosine = functional.cosine_similarity(queries.unsqueeze(-2), keys, dim=-1)
        return ((1 + cosine) / 2).mean(dim=1)
    logits = (queries.unsqueeze(-2) * keys).sum(dim=-1) / queries.shape[-1] ** 0.5
    attention = logits.softmax(dim=-1).mean(dim=1)
    return attention / attention.mean(dim=1).amax(dim=-1)[:, None, None]


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, [N, C, rows, columns] -> [N, C, *size]."""
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def threshold(maps: Tensor, options: FewShotOptions) -> Tensor:
    """Masks from similarities: bool [N, H, W] of [N, H, W]."""
    smooth = median(maps, options.pseudo_smoothing)
    if options.pseudo_threshold != "otsu":
        return smooth > options.pseudo_threshold
    limits = [threshold_otsu(picture) for picture in smooth.cpu().numpy()]
    return smooth > torch.from_numpy(np.array(limits, np.float32)).to(maps.device)[:, None, None]


def median(maps: Tensor, side: int) -> Tensor:
    """Median over windows of side x side pixels, borders reflected; [N, H, W]."""
    if side == 1:
        return maps
    reach = side // 2
    padded = functional.pad(maps[:, None], (reach,) * 4, mode="reflect")[:, 0]
    return padded.unfold(1, side, 1).unfold(2, side, 1).flatten(3).median(dim=3).values


class Enhancer(nn.Sequential):
    """Better masks from the similarities of the heads: what a few true masks teach under mixed supervision.

    Layers as published (3 x 3 kernels, heads -> 128 -> 128 -> 1). How it was trained is lost, and ours to say: on maps
    with mean 0 and deviation 1, because an encoder may find all patches about equally similar.
    """

    def __init__(self, heads: int) -> None:
        layers = [nn.Conv2d(heads, 128, 3, padding=1), nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(128, 1, 3, padding=1))

    def logits(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """[N, heads, rows, columns] -> [N, *size]; above 0 is the class."""
        return upsample(self(functional.instance_norm(maps)), size)[:, 0]


def overlap_loss(logits: Tensor, inside: Tensor, counts: Tensor) -> Tensor:
    """Binary cross-entropy + 1 - Dice, both over the pixels that count: a small class is as important as a large one.

    Args:
        logits: float [N, H, W].
        inside: bool [N, H, W], pixels of the class.
        counts: bool [N, H, W].
    """
    said, truth = logits[counts], inside[counts].float()
    chance = said.sigmoid()
    dice = (2 * (chance * truth).sum() + 1) / (chance.sum() + truth.sum() + 1)
    return functional.binary_cross_entropy_with_logits(said, truth) + 1 - dice
