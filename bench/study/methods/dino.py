"""Options of self-distillation."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.encoders import Family
from bench.study.methods.crops import MultiCropOptions


class DinoOptions(MultiCropOptions):
    """Self-distillation: a student predicts from all crops what a slow teacher says of the two global ones."""

    name: ClassVar[str] = "dino"
    version: ClassVar[int] = 1
    families: ClassVar[tuple[Family, ...]] = ("vit", "timm")
    paper: ClassVar[str] = "Caron et al., Emerging Properties in Self-Supervised ViTs (DINO), arXiv 2104.14294"

    encoder: str = Field("vit_nano", description="vision transformer preset, or timm/NAME with a class token")
    epochs: int = Field(50, ge=1, description="passes over the train pool")
    batch_size: int = Field(64, ge=2, description="images per step, over all workers together")
    lr: float = Field(6e-3, gt=0, description="peak learning rate for this batch size")
    weight_decay: float = Field(
        0.04, ge=0, description="AdamW weight decay of the first step; biases, norms and tokens are exempt"
    )
    weight_decay_end: float | None = Field(
        None, gt=0, description="weight decay of the last step, along half a cosine (paper: 0.4); null: as the first"
    )
    augmentation: str = Field("affine", description="augmentation policy of all crops, beside the cropping (dino)")
    local_crops: int = Field(2, ge=0, description="small crops of every image, beside the two global ones (paper: 10)")
    crop_split: float = Field(
        0.7, gt=0, lt=1, description="share of the area: global crops hold more, local ones less (paper: 0.4)"
    )
    crop_least: float = Field(
        0.5, gt=0, lt=1, description="share of the area that the smallest local crop holds (paper: 0.05)"
    )
    prototypes: int = Field(64, ge=2, description="outputs of the head (paper: 65536)")
    head_width: int = Field(256, ge=1, description="hidden width of the head (paper: 2048)")
    bottleneck: int = Field(64, ge=1, description="width of the head before its last layer (paper: 256)")
    batch_norm: bool = Field(True, description="batch norm in the head (paper: for ConvNets alone)")
    student_temperature: float = Field(0.1, gt=0, description="temperature of the student's outputs")
    teacher_temperature: float = Field(
        0.04, gt=0, description="temperature of the teacher's outputs, warmed up (paper: 0.07)"
    )
    teacher_temperature_start: float = Field(0.04, gt=0, description="temperature of the teacher's first outputs")
    temperature_warmup: float = Field(
        0.1, ge=0, le=1, description="share of the steps in which the teacher's temperature rises"
    )
    centring: Literal["centre", "sinkhorn"] = Field(
        "sinkhorn", description="against collapse: subtract a running mean (paper), or balance the batch (DINOv2)"
    )
    centre_momentum: float = Field(0.9, ge=0, lt=1, description="momentum of the centre")
    sinkhorn_iterations: int = Field(3, ge=1, description="iterations of Sinkhorn, where it takes the centre's place")
    momentum: float = Field(
        0.9, ge=0, le=1, description="the teacher's momentum in the first step; 1 in the last, along half a cosine "
        "(paper: 0.996)"
    )  # fmt: skip
    freeze_epochs: int = Field(1, ge=0, description="first epochs, in which the head's last layer stays")
    clip: float | None = Field(3.0, gt=0, description="largest norm of the student's gradient; null: any")

    @model_validator(mode="after")
    def _decay_has_a_beginning(self) -> Self:
        if self.weight_decay_end is not None and not self.weight_decay:
            raise UserError(f"dino.weight_decay: 0 has no way to {self.weight_decay_end}; take a small one, as 0.04")
        return self

    def weight_decay_at(self, step: int, steps: int) -> float | None:
        if self.weight_decay_end is None:
            return None
        risen = (1 - math.cos(math.pi * step / max(1, steps - 1))) / 2
        return self.weight_decay + (self.weight_decay_end - self.weight_decay) * risen
