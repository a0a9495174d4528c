"""Label budgets bought by coverage: which images to label is decided by what the train pool looks like."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from bench.data.images import ImageStore
from bench.data.selection import coverage_order, pixel_points
from bench.data.splits import Splits
from bench.seeds import named_seed


class CoverageDraws:
    """Draws of one data set.

    They read pixels (the means of an 8 x 8 grid), not an encoder's features: a draw then is the same for every entrant,
    so that entrants are compared on the same labels, and a network that is fine-tuned gets the draws of a probe.
    """

    def __init__(self, images: ImageStore, splits: Splits) -> None:
        self._images, self._splits = images, splits
        self._orders: dict[int, tuple[list[int], Iterator[int]]] = {}

    def budget(self, label_budget: str, draw: int) -> np.ndarray:
        """As many images as a uniform draw of this budget has: int64; a smaller budget is a prefix of a larger one.

        Raises:
            UserError: as the uniform draw.
        """
        count = len(self._splits.budget(label_budget, draw, "uniform"))
        taken, rest = self._orders.setdefault(draw, ([], self._order(draw)))
        while len(taken) < count:
            taken.append(next(rest))
        return np.asarray(self._splits.labelled[taken[:count]])

    def _order(self, draw: int) -> Iterator[int]:
        return coverage_order(self._points, named_seed(self._splits.digest, "coverage draw", draw))

    @cached_property
    def _points(self) -> np.ndarray:
        return pixel_points(self._images.images, self._splits.labelled)
