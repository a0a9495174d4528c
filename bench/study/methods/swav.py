"""Options of swapped assignments."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.encoders import Family
from bench.study.methods.crops import MultiCropOptions


class SwavOptions(MultiCropOptions):
    """Swapped assignments: crops of an image predict each other's prototypes, assigned in equal parts by Sinkhorn."""

    name: ClassVar[str] = "swav"
    version: ClassVar[int] = 1
    families: ClassVar[tuple[Family, ...]] = ("conv", "vit", "timm")
    paper: ClassVar[str] = "Caron et al., Contrasting Cluster Assignments (SwAV), arXiv 2006.09882"

    encoder: str = Field("conv_nano", description="encoder preset, or timm/NAME")
    epochs: int = Field(20, ge=1, description="passes over the train pool")
    lr: float = Field(2e-3, gt=0, description="peak learning rate for this batch size")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW weight decay; biases, norms and tokens are exempt")
    augmentation: str = Field("affine", description="augmentation policy of all crops, beside the cropping (simclr)")
    batch_size: int = Field(128, ge=2, description="images per step, over all workers together")
    local_crops: int = Field(4, ge=0, description="small crops of every image, beside the two global ones (paper: 6)")
    crop_split: float = Field(
        0.7, gt=0, lt=1, description="share of the area: global crops hold more, local ones less (paper: 0.14)"
    )
    crop_least: float = Field(
        0.5, gt=0, lt=1, description="share of the area that the smallest local crop holds (paper: 0.05)"
    )
    prototypes: int = Field(128, ge=2, description="prototypes that images are assigned to (paper: 3000)")
    temperature: float = Field(0.1, gt=0, description="temperature of the predictions")
    sinkhorn_epsilon: float = Field(0.03, gt=0, description="entropy weight of Sinkhorn; small: sharp (paper: 0.05)")
    sinkhorn_iterations: int = Field(3, ge=1, description="iterations of Sinkhorn")
    queue: int = Field(256, ge=0, description="earlier images, for each global crop, in Sinkhorn; 0: the batch alone")
    queue_from: float = Field(0.2, ge=0, le=1, description="share of the steps behind which the queue begins to fill")
    freeze_steps: int = Field(50, ge=0, description="first steps, in which the prototypes stay (paper: 5005)")
    projection_width: int = Field(
        128, ge=0, description="hidden width of the projection; 0: a linear one (paper: 2048)"
    )
    projection_out: int = Field(64, ge=1, description="output width of the projection (paper: 128)")

    @model_validator(mode="after")
    def _queue_holds_a_batch(self) -> Self:
        if 0 < self.queue < self.batch_size:
            raise UserError(
                f"{self.name}.queue: {self.queue} is shorter than {self.name}.batch_size {self.batch_size}; "
                f"take 0 for none, or at least {self.batch_size}"
            )
        return self
