"""Label noise on masks: operators by name, the noise of a whole pool, and how much of it there is once drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bench.data import object_noise
from bench.data.raw import IGNORE
from bench.seeds import named_seed
from bench.study.methods import LabelNoise

Operator = Callable[[np.ndarray, float, int, np.random.Generator], np.ndarray]
COARSE = 8  # blocks along the short side of a coarsened mask


def flip_pixels(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """A share of the pixels has another class, each of the others as often: symmetric noise."""
    chance, step = numbers.random(mask.shape), numbers.integers(1, n_classes, mask.shape)
    return np.where(chance < rate, (mask + step) % n_classes, mask).astype(np.uint8)


def coarsen(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """A share of the square blocks, an eighth of the tile a side, has the class of most of its pixels throughout."""
    side = max(2, min(mask.shape) // COARSE)
    blocks = [-(-extent // side) for extent in mask.shape]
    padded = np.full((blocks[0] * side, blocks[1] * side), IGNORE, np.uint8)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    tiles = padded.reshape(blocks[0], side, blocks[1], side)
    most = np.stack([(tiles == label).sum((1, 3)) for label in range(n_classes)]).argmax(0)
    touched = numbers.random(most.shape) < rate
    coarse, where = (np.repeat(np.repeat(blocky, side, 0), side, 1) for blocky in (most, touched))
    rows, columns = mask.shape
    return np.where(where[:rows, :columns], coarse[:rows, :columns], mask).astype(np.uint8)


OPERATORS: dict[LabelNoise, Operator] = {
    "flip": object_noise.flip,
    "flip_pixels": flip_pixels,
    "class_conditional": object_noise.class_conditional,
    "shift": object_noise.shift,
    "rotation": object_noise.rotation,
    "erosion": object_noise.erosion,
    "dilation": object_noise.dilation,
    "remove": object_noise.remove,
    "add": object_noise.add,
    "coarsen": coarsen,
    "stale": object_noise.stale,
}


def corrupt(
    mask: np.ndarray, noise: LabelNoise, rate: float, n_classes: int, numbers: np.random.Generator
) -> np.ndarray:
    """One noisy mask.

    Args:
        mask: uint8 [H, W], class of each pixel, or 255, which stays 255.
        noise: name of the operator.
        rate: share of the objects (pixels for flip_pixels, blocks for coarsen) that are touched, in [0, 1].
        n_classes: K, two or more.
        numbers: the randomness; of one state, a higher rate touches what a lower one does, and more.

    Returns:
        uint8 [H, W].
    """
    noisy = OPERATORS[noise](mask, rate, n_classes, numbers)
    return np.where(mask == IGNORE, np.uint8(IGNORE), noisy)


def corrupt_masks(
    masks: np.ndarray,
    images: np.ndarray,
    noise: LabelNoise,
    rate: float,
    n_classes: int,
    seed: int,
    *,
    clean_share: float = 0.0,
) -> np.ndarray:
    """The noisy masks of a pool; each depends on its image's number, not on the order or (but for permuted) the others.

    Args:
        masks: uint8 [P, H, W].
        images: int64 [P], numbers of the images, distinct.
        noise: name of the operator; "none"; or "permuted", where a share of the images has the mask of another.
        rate: as in `corrupt`; of permuted, the share of the images.
        n_classes: K.
        seed: of the realisation of the noise.
        clean_share: share of the images, chosen by the seed, whose masks stay clean.

    Returns:
        uint8 [P, H, W].
    """
    noisy = np.array(masks)
    sources = {} if noise != "permuted" else _partners(images, seed)
    for row, image in enumerate(images):
        if noise == "none" or _generator("clean", seed, image).random() < clean_share:
            continue
        numbers = _generator(noise, seed, image)
        if noise != "permuted":
            noisy[row] = corrupt(masks[row], noise, rate, n_classes, numbers)
        elif numbers.random() < rate:
            noisy[row] = np.where(masks[row] == IGNORE, np.uint8(IGNORE), masks[sources[row]])
    return noisy


def _partners(images: np.ndarray, seed: int) -> dict[int, int]:
    """For each row of the pool the row whose mask it gets, never its own: one cycle through all, by the seed."""
    ascending = np.argsort(images)
    cycle = ascending[np.random.default_rng(named_seed("label noise", "cycle", seed)).permutation(len(images))]
    return {int(row): int(other) for row, other in zip(cycle, np.roll(cycle, 1), strict=True)}


def _generator(noise: str, seed: int, image: int) -> np.random.Generator:
    return np.random.default_rng(named_seed("label noise", noise, seed, int(image)))


class Realised(NamedTuple):
    """How noisy masks turned out.

    Attributes:
        confusion: int64 [K, K], pixels by clean and by noisy class; those ignored on either side are left out.
        pixel_rate: share of the pixels whose class changed; 0 where there are none.
        information_loss: 1 - I(Y; Y~) / H(Y), of pixels taken one by one: 0 where the clean class can be told from the
            noisy one, whatever its name, 1 where the noisy one tells nothing; 0 where there is but one clean class.
    """

    confusion: np.ndarray
    pixel_rate: float
    information_loss: float


def realised(clean: np.ndarray, noisy: np.ndarray, n_classes: int) -> Realised:
    """Measures noisy masks against clean ones of the same shape, uint8."""
    known = (clean != IGNORE) & (noisy != IGNORE)
    pairs = clean[known].astype(np.int64) * n_classes + noisy[known]
    confusion = np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
    total = max(1, int(confusion.sum()))
    entropy = _entropy(confusion.sum(1) / total)
    shared = entropy + _entropy(confusion.sum(0) / total) - _entropy(confusion.ravel() / total)
    loss = float(np.clip(1 - shared / entropy, 0, 1)) if entropy else 0.0
    return Realised(confusion, 1 - float(np.trace(confusion)) / total if known.any() else 0.0, loss)


def _entropy(shares: np.ndarray) -> float:
    inside = shares[shares > 0]
    return float(-(inside * np.log(inside)).sum())
