"""Options of label propagation."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from bench.study.protocols.options import ProtocolOptions


class LabelPropagationOptions(ProtocolOptions):
    """Label propagation: labels spread over the graph of the whole train pool, labelled or not (Zhou et al. 2003).

    The graph never holds a test image: that one gets the scores of the pool images it is nearest to. The graph's own
    settings are fixed, so there is one candidate at every budget.
    """

    name: ClassVar[str] = "label_propagation"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "labels spread over the graph of neighbours in the train pool, unlabelled images included"

    neighbours: int = Field(default=10, ge=1, description="nearest pool images each image is joined to")
    alpha: float = Field(
        default=0.99, gt=0, lt=1, description="share of its score an image takes from its neighbours, not its own label"
    )
    selection: Literal["auto", "fixed"] = Field(
        default="auto", description="'auto' and 'fixed' are the same: nothing is selected"
    )
