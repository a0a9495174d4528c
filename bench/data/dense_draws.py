"""Which images' masks a protocol may see: label budgets that count images, stratified by what the images show."""

from __future__ import annotations

import numpy as np

from bench.data.images import ImageStore
from bench.data.splits import Splits, shuffled
from bench.errors import UserError
from bench.seeds import named_seed
from bench.study.protocols import ALL

BINS = (0.05, 0.25, 0.5)  # shares of an image at which a class counts as absent, some, much or most of it


def dense_budget(images: ImageStore, splits: Splits, label_budget: str, draw: int) -> np.ndarray:
    """The images of a budget that counts labelled images, int64.

    Images are put in strata by the binned shares of their classes; every stratum gives the same share of its images. A
    smaller budget of the same draw is a prefix of a larger one.

    Args:
        images: with masks.
        splits: of these images.
        label_budget: number of images, or "all" for the whole train pool.
        draw: number of the draw.

    Raises:
        UserError: the budget is larger than the train pool.
    """
    pool = splits.train
    if label_budget == ALL:
        return pool
    count = int(label_budget)
    if count > len(pool):
        raise UserError(f"label budget {count} is larger than the train pool of {len(pool)} images")
    stratum = strata(_histograms(images)[pool])
    place = np.empty(len(pool))
    for number in np.unique(stratum):
        order = shuffled(np.flatnonzero(stratum == number), splits.digest, "dense draw", draw, int(number))
        offset = np.random.default_rng(_name(splits, draw, int(number))).random()
        place[order] = (np.arange(len(order)) + offset) / len(order)
    return np.asarray(pool[np.argsort(place, kind="stable")[:count]])


def strata(histograms: np.ndarray) -> np.ndarray:
    """Number of each image's stratum, int64 [N]: one for every combination of binned class shares that occurs.

    Args:
        histograms: int64 [N, K], pixels of each class; images without any labelled pixel are a stratum too.
    """
    shares = histograms / np.maximum(histograms.sum(1, keepdims=True), 1)
    return np.unique(np.digitize(shares, BINS), axis=0, return_inverse=True)[1].reshape(-1)


def _histograms(images: ImageStore) -> np.ndarray:
    if images.histograms is None:
        raise UserError("the data set has no masks; a budget of labelled images needs them")
    return images.histograms


def _name(splits: Splits, draw: int, stratum: int) -> int:
    return named_seed(splits.digest, "dense offset", draw, stratum)
