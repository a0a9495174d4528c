"""Choosing images by coverage, without looking at labels: every image should have a chosen one close by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

GROUND = 2048  # images that the chosen ones are to cover; of a larger pool a random part stands for the whole
CANDIDATES = 256  # images looked at for each choice
STEPS = 1024  # of a distance of 1
CELLS = 8  # along a side of an image, whose means stand for its pixels


def coverage_order(points: np.ndarray, seed: int, known: np.ndarray | None = None) -> Iterator[int]:
    """Positions of images, each once, in the order in which they are worth a label; a shorter list is a prefix.

    Each choice brings the mean distance from an image to its nearest chosen one down as far as any candidate does:
    greedy facility location, a monotone submodular aim of which greedy choices reach 1 - 1/e of the best (Wei, Iyer &
    Bilmes, Submodularity in Data Subset Selection and Active Learning, ICML 2015), with a random part of the pool as
    candidates of each choice (Mirzasoleiman et al., Lazier Than Lazy Greedy, AAAI 2015), which also is what tells one
    seed from another. Unlike k-center it does not begin with outliers.

    Args:
        points: float [n, D].
        seed: from `bench.seeds.named_seed`.
        known: float [m, D], images that have labels already; they cover from the start.
    """
    generator = np.random.default_rng(seed)
    values = np.asarray(points, np.float64)
    ground = values[np.sort(generator.permutation(len(values))[:GROUND])]
    norms = (ground**2).sum(1)
    left = generator.permutation(len(values))
    covered = np.full(len(ground), np.inf)
    if known is not None and len(known):
        for part in np.array_split(np.asarray(known, np.float64), -(-len(known) // CANDIDATES)):
            covered = np.minimum(covered, _distances(part, ground, norms).min(0))
    while len(left):
        places = generator.permutation(len(left))[:CANDIDATES]
        distances = _distances(values[left[places]], ground, norms)
        best = int(np.minimum(distances, covered).sum(1).argmin())
        covered = np.minimum(covered, distances[best])
        yield int(left[places[best]])
        left = np.delete(left, places[best])


def pixel_points(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean grey or colour of the cells of an 8 x 8 grid over each image, rounded: float64 [n, cells * C].

    Whole numbers, so that sums and distances are exact and a choice is the same on every machine.

    Args:
        images: uint8 [N, H, W, C].
        rows: int64 [n], which of them.
    """
    down, across = (np.linspace(0, side, min(CELLS, side) + 1).astype(int) for side in images.shape[1:3])
    area = np.diff(down)[:, None, None] * np.diff(across)[None, :, None]
    points = []
    for part in np.array_split(rows, max(1, -(-len(rows) // 1024))):
        sums = np.add.reduceat(images[part].astype(np.int64), down[:-1], axis=1)
        sums = np.add.reduceat(sums, across[:-1], axis=2)
        points.append(np.rint(sums / area).reshape(len(part), -1))
    return np.concatenate(points)


def _distances(points: np.ndarray, ground: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Distances in whole steps, float64 [points, ground]: sums of them are exact, in whatever order they are added."""
    squares = (points**2).sum(1)[:, None] + norms - 2 * (points @ ground.T)
    return np.rint(np.sqrt(np.maximum(squares, 0)) * STEPS)
