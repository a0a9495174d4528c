"""Options of the entrants that are not pretrained here."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.encoders import Family, check_skip
from bench.study.methods.options import MethodOptions


class RandomInitOptions(MethodOptions):
    """An encoder as it was initialised: what pretraining has to beat; with `finetune`, supervised from scratch."""

    name: ClassVar[str] = "random_init"
    version: ClassVar[int] = 2
    trains: ClassVar[bool] = False
    families: ClassVar[tuple[Family, ...]] = ("vit", "conv", "unet", "timm")
    paper: ClassVar[str] = "no pretraining"

    encoder: str = Field("vit_nano", description="encoder preset, timm/NAME or unet/NAME")
    patch_size: int | None = Field(None, ge=1, description="patch side in pixels (vit); null: by image size")
    skip: bool = Field(True, description="whether a U-Net's decoder reads the encoder's maps")

    @model_validator(mode="after")
    def _can_skip(self) -> Self:
        check_skip("random_init.skip", self.encoder, self.skip)
        return self


class PixelsOptions(MethodOptions):
    """The raw image as the feature."""

    name: ClassVar[str] = "pixels"
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    paper: ClassVar[str] = "no pretraining"

    size: int | None = Field(None, ge=1, description="side in pixels the image is area-pooled to; null: as it is")


class TimmOptions(MethodOptions):
    """Published weights of a timm network, read through the normalisation they were trained with."""

    name: ClassVar[str] = "timm"
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = False
    seeded: ClassVar[bool] = False
    families: ClassVar[tuple[Family, ...]] = ("timm",)
    paper: ClassVar[str] = "Wightman, PyTorch Image Models, github.com/huggingface/pytorch-image-models"

    encoder: str = Field(description="timm/NAME")
    patch_size: int | None = Field(None, ge=1, description="patch side in pixels, where the network can change it")
    weights: str | None = Field(None, description="path of a weights file (.safetensors, .pth); read as timm reads it")
    pretrained: bool = Field(False, description="download timm's weights for this name")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.pretrained == (self.weights is not None):
            raise UserError("timm: set exactly one of timm.weights (a file) and timm.pretrained: true")
        return self
