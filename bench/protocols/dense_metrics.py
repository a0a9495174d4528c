"""Scores of segmentation from counts over every test pixel: one confusion matrix, one table of boundary pixels."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import binary_dilation

from bench.data.raw import IGNORE

BOUNDARY_TOLERANCE = 0.0075  # of the diagonal: how far apart boundaries may lie and still agree


class DenseCounts:
    """Counts over pixels; images are added in any order and any portions.

    Attributes:
        confusion: int64 [K, K], pixels by true class (row) and predicted class (column).
        boundary: int64 [K, 4]: boundary pixels predicted, those of them near a true one, true ones, those of them near
            a predicted one.
        parts: the counts of each block of images, where they were asked for; they add up to these.
    """

    def __init__(self, n_classes: int) -> None:
        self.parts: list[DenseCounts] = []
        self.confusion = np.zeros((n_classes, n_classes), np.int64)
        self.boundary = np.zeros((n_classes, 4), np.int64)

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Counts images of one size.

        Args:
            truth: uint8 [n, H, W], in 0..K-1, or 255 for pixels that count nowhere: what is predicted there does not
                matter, and no boundary runs along them.
            predicted: integers [n, H, W], in 0..K-1.
        """
        n_classes, counted = len(self.confusion), truth != IGNORE
        pairs = n_classes * truth[counted].astype(np.int64) + predicted[counted]
        self.confusion += np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)
        predicted = np.where(counted, predicted, IGNORE).astype(np.uint8)
        near = disk(max(1, round(BOUNDARY_TOLERANCE * math.hypot(*truth.shape[1:]))))
        edges = [(classes, boundaries(classes)) for classes in (predicted, truth)]
        for label in range(n_classes):
            ours, theirs = (edge & (classes == label) for classes, edge in edges)
            found, wanted = (binary_dilation(edge, near[None]) if edge.any() else edge for edge in (ours, theirs))
            self.boundary[label] += [ours.sum(), (ours & wanted).sum(), theirs.sum(), (theirs & found).sum()]

    @property
    def class_accuracy(self) -> np.ndarray:
        """Share of each class's pixels that were found, float64 [K]; nan where the truth has none."""
        return _ratio(np.diag(self.confusion), self.confusion.sum(1))

    @property
    def class_iou(self) -> np.ndarray:
        """Intersection over union of each class, float64 [K]; nan where the truth has no pixel of it."""
        true, predicted, right = self.confusion.sum(1), self.confusion.sum(0), np.diag(self.confusion)
        return np.where(true > 0, _ratio(right, true + predicted - right), np.nan)

    @property
    def class_f1(self) -> np.ndarray:
        """F1 of each class, float64 [K]; nan where the truth has no pixel of it."""
        true, predicted, right = self.confusion.sum(1), self.confusion.sum(0), np.diag(self.confusion)
        return np.where(true > 0, _ratio(2 * right, true + predicted), np.nan)

    @property
    def boundary_f1(self) -> np.ndarray:
        """Boundary F1 of each class (Csurka et al., BMVC 2013), float64 [K]; nan where the truth has no boundary of it.

        The harmonic mean of the share of predicted boundary pixels near a true one and the share of true ones near a
        predicted one; both over all images together, so that no image counts more for having less boundary.
        """
        predicted, precise, true, found = self.boundary.T
        precision, recall = np.nan_to_num(_ratio(precise, predicted)), _ratio(found, true)
        return np.where(true > 0, np.nan_to_num(_ratio(2 * precision * recall, precision + recall)), np.nan)

    def left_out(self) -> dict[str, list[float]]:
        """Each metric without each part in turn: what a jackknife over test images is made of.

        Empty without parts, and without a metric that one part alone makes a number.
        """
        found = [self._without(part).metrics() for part in self.parts if part.confusion.any()]
        if len(found) < 2:
            return {}
        each = {name: [metrics[name] for metrics in found] for name in found[0]}
        return {name: values for name, values in each.items() if np.isfinite(values).all()}

    def _without(self, part: DenseCounts) -> DenseCounts:
        rest = DenseCounts(len(self.confusion))
        rest.confusion, rest.boundary = self.confusion - part.confusion, self.boundary - part.boundary
        return rest

    def metrics(self) -> dict[str, float]:
        """pixel_accuracy, and miou, macro_f1 and boundary_f1 as unweighted means over the classes of the truth."""
        return {
            "pixel_accuracy": float(np.trace(self.confusion) / self.confusion.sum()),
            "miou": mean(self.class_iou),
            "macro_f1": mean(self.class_f1),
            "boundary_f1": mean(self.boundary_f1),
        }


def mean(values: np.ndarray) -> float:
    """The mean of what is not nan; nan where nothing is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def boundaries(classes: np.ndarray) -> np.ndarray:
    """Pixels with another class above, below, left or right of them: [n, H, W] -> bool [n, H, W].

    Neither the border of the image nor a pixel that counts nowhere makes a boundary.
    """
    edge = np.zeros(classes.shape, bool)
    for axis in (1, 2):
        low, high = ((slice(None),) * axis + (part,) for part in (slice(None, -1), slice(1, None)))
        differs = (classes[low] != classes[high]) & (classes[low] != IGNORE) & (classes[high] != IGNORE)
        edge[low] |= differs
        edge[high] |= differs
    return edge


def disk(radius: int) -> np.ndarray:
    """The pixels within a distance: bool [2 r + 1, 2 r + 1]."""
    place = np.arange(-radius, radius + 1)
    return np.asarray(place[:, None] ** 2 + place**2 <= radius**2)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
