"""Options of contrastive learning."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bench.study.encoders import Family
from bench.study.methods.options import TrainedOptions


class SimclrOptions(TrainedOptions):
    """Contrastive learning: two augmented views of an image attract, views of other images repel (NT-Xent)."""

    name: ClassVar[str] = "simclr"
    version: ClassVar[int] = 1
    families: ClassVar[tuple[Family, ...]] = ("conv", "vit", "timm")
    paper: ClassVar[str] = "Chen et al., A Simple Framework for Contrastive Learning, arXiv 2002.05709"

    encoder: str = Field("conv_nano", description="encoder preset, or timm/NAME")
    epochs: int = Field(20, ge=1, description="passes over the train pool")
    lr: float = Field(2e-3, gt=0, description="peak learning rate for this batch size")
    weight_decay: float = Field(1e-4, ge=0, description="AdamW weight decay; biases, norms and tokens are exempt")
    augmentation: str = Field("affine", description="augmentation policy that makes the two views")
    temperature: float = Field(0.5, gt=0, description="temperature of the similarities")
    projection_width: int = Field(128, ge=1, description="hidden width of the projection head")
    projection_out: int = Field(64, ge=1, description="output width of the projection head")
