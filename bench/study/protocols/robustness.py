"""Options of robustness: how far, and in which direction, the test images are shifted."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from bench.study.protocols.options import HeadOptions

Shift = Literal["brightness", "contrast", "blur", "noise", "rotation", "scale", "jpeg"]


class RobustnessOptions(HeadOptions):
    """Robustness: the linear probe of clean images, scored on shifted test images (after arXiv 1903.12261).

    The heads are those of `linear`: fitted and selected on clean images. A study names several shifts and severities
    as lists, which stand for one entry each: `{protocol: robustness, shift: [blur, noise], severity: [1, 3, 5]}`.
    """

    name: ClassVar[str] = "robustness"
    version: ClassVar[int] = 4
    summary: ClassVar[str] = "logistic regression on a frozen layer, scored on shifted test images"
    listed: ClassVar[tuple[str, ...]] = ("draw_strategy", "shift", "severity")

    shift: Shift = Field(default="blur", description="what is done to the test images")
    severity: int = Field(default=3, ge=1, le=5, description="how much of it is done")

    def head_options(self) -> dict[str, Any]:
        """The options that change the heads, which do not know what the test images will be."""
        return {name: value for name, value in self.value_options().items() if name not in self.listed}
