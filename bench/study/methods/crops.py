"""Options of the methods that compare large and small crops of an image (multi-crop, arXiv 2006.09882)."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.encoders import ENCODERS, resolve_patch
from bench.study.methods.options import TrainedOptions


class MultiCropOptions(TrainedOptions):
    """Two global crops and some local ones of every image; a share of the image's area divides the two kinds."""

    local_crops: int = Field(ge=0, description="small crops of every image, beside the two global ones")
    global_size: int | None = Field(None, ge=1, description="short side of a global crop; null: the image's")
    local_size: int | None = Field(None, ge=1, description="short side of a local crop; null: about half the image's")
    crop_split: float = Field(gt=0, lt=1, description="share of the area: global crops hold more, local ones less")
    crop_least: float = Field(gt=0, lt=1, description="share of the area that the smallest local crop holds")
    prototypes: int = Field(ge=2, description="prototypes that images are assigned to")

    @model_validator(mode="after")
    def _least_below_split(self) -> Self:
        if self.crop_least >= self.crop_split:
            raise UserError(
                f"{self.name}.crop_least: {self.crop_least} must be less than {self.name}.crop_split {self.crop_split}"
            )
        return self

    def check_data(self, height: int, width: int, classes: int) -> None:
        """Raises UserError where the crops do not fit the patches, or the classes outnumber the prototypes."""
        if self.prototypes < classes:
            raise UserError(
                f"{self.name}.prototypes: {self.prototypes} is fewer than the {classes} classes of the data set; "
                f"take at least {classes}"
            )
        if self.encoder in ENCODERS and ENCODERS[self.encoder].family == "vit":
            self.crop_sizes(height, width, resolve_patch(self.encoder, self.patch_size, height, width))

    def crop_sizes(self, height: int, width: int, patch: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Height and width in pixels of global and of local crops, of the image's shape as near as patches allow.

        Args:
            height: of the images.
            width: of the images.
            patch: side in pixels of what a crop must hold a whole number of; 1 for convolutional networks.

        Raises:
            UserError: a size that the patch does not divide.
        """
        short, names = min(height, width), ("global_size", "local_size")
        wholes = (short, max(1, round(short / 2 / patch)) * patch)
        sides = [getattr(self, name) or whole for name, whole in zip(names, wholes, strict=True)]
        for name, side in zip(names, sides, strict=True):
            if side % patch:
                near = max(1, side // patch) * patch
                raise UserError(
                    f"{self.name}.{name}: {side} is no multiple of the patch of {patch} pixels; "
                    f"near: {near}, {near + patch}"
                )
        large, small = (
            tuple(max(1, round(length * side / short / patch)) * patch for length in (height, width)) for side in sides
        )
        return large, small  # type: ignore[return-value]
