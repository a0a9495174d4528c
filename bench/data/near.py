"""Images that show the same: perceptual hashes that differ in few bits, and small copies that look alike.

All sums are of whole numbers below 2^53, so that every machine finds the same images alike, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np

BITS = 64
FAR = 6  # differing bits up to which two hashes are close
ALIKE = 0.98  # correlation of two small grey copies from which the images show the same; brightness plays no part
SIDE = 24  # of the small copies, in pixels
_HASHED = 32  # side of the grey image whose cosine transform is hashed
_FLAT = 1.0  # standard deviation of grey values below which an image shows nothing that could be compared
_FINE = 256  # steps of a small copy to a grey value: faint images are compared by less than one
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_ONE = 2.0**16  # what a weight of 1 is as a whole number
_LONGEST = 1024  # pixels of a side that are looked at, twice that at most; a longer one is thinned out
_BLOCK = 1 << 19  # values looked at once: what fits into a cache is several times as fast
_STEPS = 128  # of a deviation; squares of a copy then add up to less than 2^24, which float32 holds exactly
_THREADS_FROM = 32  # blocks from which threads pay
_PAIRS = 1 << 12  # small copies compared at once


def perceptual_hashes(images: np.ndarray) -> np.ndarray:
    """pHash, 64 bits: signs of the lowest 8 x 8 DCT coefficients of the grey image at 32 x 32 about their median.

    Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010; imagehash's `phash`.

    Args:
        images: uint8 [N, H, W, C]; of more than three bands the first three are looked at.

    Returns:
        uint64 [N].
    """
    angles = np.pi * np.outer(np.arange(8), np.arange(_HASHED) + 0.5) / _HASHED
    return np.concatenate(
        [np.empty(0, np.uint64), *_reduced(images, lambda side: np.cos(angles) @ _lanczos(side), _packed_signs)]
    )


def _packed_signs(low: np.ndarray) -> np.ndarray:
    """Which coefficients, float64 [n, 8, 8], lie above the median of their image: uint64 [n]."""
    low = low.reshape(-1, BITS)
    return np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1).view(">u8").ravel().astype(np.uint64)


def grey_copies(images: np.ndarray) -> np.ndarray:
    """Small grey copies, the sides not in proportion: uint8 [N, H, W, C] -> uint16 [N, SIDE, SIDE], in 1 / 256."""
    return np.concatenate([np.empty((0, SIDE, SIDE), np.uint16), *_reduced(images, _areas, _fine_steps)])


def _fine_steps(grey: np.ndarray) -> np.ndarray:
    return np.rint(grey * (_FINE / _ONE**2)).clip(0, 2**16 - 1).astype(np.uint16)


def _reduced(
    images: np.ndarray, weights: Callable[[int], np.ndarray], finish: Callable[[np.ndarray], np.ndarray]
) -> Iterator[np.ndarray]:
    """What `finish` makes of grey images with both sides reduced by `weights(side)` [n, side], some at a time.

    It is given them in units of 1 / _ONE^2: float64 [some, n, n].
    """
    thin = [max(1, side // _LONGEST) for side in images.shape[1:3]]
    images = images[:, :: thin[0], :: thin[1], : 3 if images.shape[3] >= 3 else 1]
    height, width, channels = images.shape[1:]
    rows = np.rint(weights(height) * _ONE)
    grey = _LUMA if channels == 3 else (1.0,)
    columns = np.rint(weights(width)[:, :, None] * grey * _ONE).reshape(len(rows), -1).T
    step = max(1, _BLOCK // (height * width * channels))
    starts = range(0, len(images), step)

    def reduce(start: int) -> np.ndarray:
        part = images[start : start + step].reshape(-1, height, width * channels)
        return finish((rows @ part.astype(np.float64)) @ columns)

    if len(starts) < _THREADS_FROM:
        yield from map(reduce, starts)
        return
    with ThreadPoolExecutor() as pool:  # NumPy lets go of the interpreter meanwhile
        yield from pool.map(reduce, starts)


@lru_cache(maxsize=64)
def _lanczos(side: int) -> np.ndarray:
    """Weights of the pixels of a side in its 32 resized ones, as Pillow's LANCZOS has them: float64 [32, side]."""
    scale = side / _HASHED
    distances = (np.arange(side) + 0.5 - (np.arange(_HASHED)[:, None] + 0.5) * scale) / max(scale, 1)
    weights = np.where(np.abs(distances) < 3, np.sinc(distances) * np.sinc(distances / 3), 0)
    return np.asarray(weights / weights.sum(1, keepdims=True))


@lru_cache(maxsize=64)
def _areas(side: int) -> np.ndarray:
    """Share of each pixel of a side in each of SIDE equal stretches of it: float64 [SIDE, side], rows add up to 1."""
    edges = np.arange(SIDE + 1)[:, None] * side / SIDE
    covered = np.clip(np.minimum(edges[1:], np.arange(1, side + 1)) - np.maximum(edges[:-1], np.arange(side)), 0, None)
    return np.asarray(covered * SIDE / side)


def close_pairs(hashes: np.ndarray, far: int = FAR) -> Iterator[np.ndarray]:
    """Every pair of hashes that differ in at most `far` bits, once: int64 [pairs, 2] each time.

    Of far + 1 bands of bits, two such hashes agree in one at least, so that only hashes that share a band are compared:
    none is missed. What shares a band stands side by side when sorted, and is compared at one distance after another.

    Args:
        hashes: uint64 [N].
        far: most bits that may differ, 0 to 63.
    """
    masks = [np.uint64(sum(1 << bit for bit in range(band, BITS, far + 1))) for band in range(far + 1)]
    for number, mask in enumerate(masks):
        order = np.argsort(hashes & mask, kind="stable")
        values = hashes[order]
        starts = np.flatnonzero(np.r_[True, np.diff(values & mask) != 0])
        ends = np.repeat(np.r_[starts[1:], len(order)], np.diff(np.r_[starts, len(order)]))
        first = np.arange(len(order))
        for apart in range(1, len(order)):
            first = first[first + apart < ends[first]]
            if not len(first):
                break
            differing = values[first] ^ values[first + apart]
            close = np.flatnonzero(np.bitwise_count(differing) <= far)
            for earlier in masks[:number]:  # a pair that agrees there was found there
                close = close[(differing[close] & earlier) != 0]
            if len(close):
                yield np.stack([order[first[close]], order[first[close] + apart]], 1)


def near_clusters(hashes: np.ndarray, copies: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The cluster of each image, named by its first image: those that close hashes and copies alike hang together.

    Pairs of one cluster are not compared again, so that a thousand frames of one still scene cost little.

    Args:
        hashes: uint64 [N].
        copies: of the images in some rows, as `grey_copies` makes them; asked for once a row, and only where hashes are
            close.

    Returns:
        int64 [N].
    """
    names, seen = np.arange(len(hashes)), np.zeros(len(hashes), bool)
    small = np.empty((len(hashes), SIDE * SIDE), np.int16)
    for pairs in close_pairs(hashes):
        fresh = pairs[names[pairs[:, 0]] != names[pairs[:, 1]]]
        unseen = np.unique(fresh[~seen[fresh]])
        if len(unseen):
            small[unseen], seen[unseen] = _standardised(copies(unseen)), True
        names = _joined(names, fresh[_alike(small, fresh)])
    return names


def _standardised(copies: np.ndarray) -> np.ndarray:
    """Small copies without brightness and contrast: uint16 [n, S, S] -> int16 [n, S * S], in units of deviation / 128.

    A copy that shows nothing is zero.
    """
    values = copies.reshape(len(copies), -1).astype(np.int64)
    count = values.shape[1]
    away = count * values - values.sum(1, keepdims=True)
    spread = np.sqrt((away**2).sum(1, keepdims=True) / count)
    scaled = np.where(spread < _FLAT * _FINE * count, 0, _STEPS * away / np.maximum(spread, 1))
    return np.rint(scaled).astype(np.int16)


def _alike(small: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Which pairs of standardised copies, int16 [N, D], have a correlation of at least ALIKE: bool [pairs]."""
    least = ALIKE * _STEPS**2 * small.shape[1]
    found = [np.empty(0, bool)]
    for start in range(0, len(pairs), _PAIRS):
        one, two = (small[side].astype(np.float32) for side in pairs[start : start + _PAIRS].T)
        found.append(np.einsum("nd,nd->n", one, two) >= least)
    return np.concatenate(found)


def _joined(names: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The clusters after those of each pair were made one, which has the smaller of their names: int64 [N]."""
    if not len(pairs):
        return names
    from scipy.sparse import coo_matrix  # a tenth of a second, which reopening a store need not wait for
    from scipy.sparse.csgraph import connected_components

    old, number = np.unique(names[pairs], return_inverse=True)
    links = number.reshape(-1, 2)
    graph = coo_matrix((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(len(old), len(old)))
    part = connected_components(graph, directed=False)[1]
    first = np.full(part.max() + 1, len(names))
    np.minimum.at(first, part, old)
    new = np.arange(len(names))
    new[old] = first[part]
    return np.asarray(new[names])
