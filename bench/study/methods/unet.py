"""Options of the U-Net autoencoders."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from bench.study.encoders import Family
from bench.study.methods.options import TrainedOptions


class UnetOptions(TrainedOptions):
    """What the two U-Net autoencoders share: they restore the clean image from a corrupted one, in [0, 1] units."""

    families: ClassVar[tuple[Family, ...]] = ("unet",)
    paper: ClassVar[str] = "Kancharla and Kaveti, U-Net masked autoencoder with EfficientNet-B7, arXiv 2410.19899"

    encoder: str = Field("unet_nano", description="U-Net preset; unet_paper is the published size")
    epochs: int = Field(30, ge=1, description="passes over the train pool")
    lr: float = Field(3e-3, gt=0, description="peak learning rate for this batch size")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay; biases are exempt (paper: 0)")
    skip: bool = Field(True, description="concatenate the encoder's maps into the decoder, as published")


class UnetMaskedOptions(UnetOptions):
    """U-Net autoencoder that restores images with black patches."""

    name: ClassVar[str] = "unet_masked"
    version: ClassVar[int] = 1

    mask_ratio: float = Field(0.25, gt=0, lt=1, description="share of patches set to black (paper: 0.25)")
    patch: int | None = Field(
        None, ge=1, description="side of a black patch in pixels (paper: 8 at 224); null: about an eighth, at least 2"
    )


class UnetDenoiseOptions(UnetOptions):
    """U-Net autoencoder that restores images from additive Gaussian noise.

    The published code casts its noise to bytes, which leaves 3 % salt noise; this is the stated intention, in float.
    """

    name: ClassVar[str] = "unet_denoise"
    version: ClassVar[int] = 1

    sigma: float = Field(0.54, gt=0, description="standard deviation of the noise, in units of the [0, 1] pixel range")
