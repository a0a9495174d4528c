"""Options of the nearest centroid."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bench.study.protocols.options import ProtocolOptions


class NearestCentroidOptions(ProtocolOptions):
    """Nearest centroid: the class whose labelled images are nearest on average (Rocchio; arXiv 1703.05175's head).

    Nothing is selected, so there is one candidate at every budget.
    """

    name: ClassVar[str] = "nearest_centroid"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "the nearest class mean of the labelled images on a frozen layer"

    distance: Literal["euclidean", "cosine"] = Field(default="euclidean", description="distance between features")
    selection: Literal["auto", "fixed"] = Field(
        default="auto", description="'auto' and 'fixed' are the same: there is nothing to select"
    )
