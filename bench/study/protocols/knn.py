"""Options of k-NN."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bench.study.protocols.options import ProtocolOptions


class KnnOptions(ProtocolOptions):
    """k-NN: majority vote of the nearest labelled images on one frozen layer (Wu et al., arXiv 1805.01978)."""

    name: ClassVar[str] = "knn"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "majority vote of the nearest labelled images on a frozen layer"

    k_default: int = Field(
        default=5,
        ge=1,
        description="neighbours where nothing is selected; never more than the labels per class, "
        "for beyond them votes for the true class run out and only wrong ones are added",
    )
    k_grid: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(1, 3, 5, 10, 20), description="candidates of k; k_default always is one"
    )
    distance: Literal["euclidean", "cosine"] = Field(default="euclidean", description="distance between features")
    folds: int = Field(default=5, ge=2, description="folds of the cross-validation inside the budget")

    def candidates(self, labels_per_class: int) -> tuple[int, ...]:
        """Every k the selection may choose at this budget, ascending."""
        return tuple(sorted({min(k, max(labels_per_class, 1)) for k in (*self.k_grid, self.k_default)}))
