"""Options of the network as its pretraining left it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from bench.study.protocols.class_map import ClassMapOptions


class AsIsOptions(ClassMapOptions):
    """The network that learned from the (noisy) masks, decoder and all, as it is: no label of a budget is read.

    The control that transfer has to beat: its one score stands at every budget, beside what others make of the labels
    there. It needs a pretraining that segments (noisy_labels). Under a class map its probabilities are added up.
    """

    name: ClassVar[str] = "as_is"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "the network that learned from the masks, its own decoder, no label of the budget"
    dense: ClassVar[bool] = True
    budget_unit: ClassVar[tuple[str, str]] = ("labelled image", "labelled images")
    reads_features: ClassVar[bool] = False

    draws: int = Field(default=1, ge=1, description="draws of each budget that the one score is written down for")
    selection: Literal["fixed"] = Field(default="fixed", description="nothing is selected")

    @model_validator(mode="after")
    def _fits(self) -> AsIsOptions:
        if self.layers != ("last",):
            raise ValueError(f"as_is runs the whole network: layers must be ['last'], not {list(self.layers)}")
        if self.draw_strategy != "balanced":
            raise ValueError("draw_strategy: no label is read; leave it out")
        return self
