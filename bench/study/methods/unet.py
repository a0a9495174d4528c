"""Options of the U-Net autoencoders."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bench.study.encoders import Family, check_skip
from bench.study.methods.options import TrainedOptions

Noise = Literal["gaussian", "uint8"]


class UnetOptions(TrainedOptions):
    """What the U-Net autoencoders share: they restore the clean image from a corrupted one, in [0, 1] units."""

    families: ClassVar[tuple[Family, ...]] = ("unet",)
    paper: ClassVar[str] = "Kancharla and Kaveti, U-Net masked autoencoder with EfficientNet-B7, arXiv 2410.19899"

    encoder: str = Field(
        "unet_nano",
        description="U-Net preset (unet_paper is the published size), or unet/NAME: a U-Net around any network of "
        "segmentation-models-pytorch (unet/resnet18) or of timm (unet/tu-efficientnet_b0)",
    )
    epochs: int = Field(30, ge=1, description="passes over the train pool")
    lr: float = Field(3e-3, gt=0, description="peak learning rate for this batch size")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay; biases are exempt (paper: 0)")
    skip: bool = Field(True, description="concatenate the encoder's maps into the decoder, as published")

    @model_validator(mode="after")
    def _can_skip(self) -> Self:
        check_skip(f"{self.name}.skip", self.encoder, self.skip)
        return self


class MaskOptions(UnetOptions):
    """Black patches."""

    mask_ratio: float = Field(0.25, gt=0, lt=1, description="share of patches set to black (paper: 0.25)")
    patch: int | None = Field(
        None, ge=1, description="side of a black patch in pixels (paper: 8 at 224); null: about an eighth, at least 2"
    )


class NoiseOptions(UnetOptions):
    """Additive noise: Gaussian, as the paper says, or what its code makes of that."""

    sigma: float = Field(
        0.54,
        gt=0,
        description="standard deviation of the noise: in units of the [0, 1] pixel range; in grey levels, 1/255 of it, "
        "where noise is uint8 (paper: 0.54)",
    )
    noise: Noise = Field(
        "gaussian",
        description="gaussian: in float, the paper's stated intention; uint8: as its code ships, cast to bytes, which "
        "at sigma 0.54 leaves 3.2 % salt",
    )

    @property
    def noise_level(self) -> float:
        """Sigma in units of the [0, 1] pixel range, whatever the noise."""
        return self.sigma / 255 if self.noise == "uint8" else self.sigma


class UnetMaskedOptions(MaskOptions):
    """U-Net autoencoder that restores images with black patches."""

    name: ClassVar[str] = "unet_masked"
    version: ClassVar[int] = 2


class UnetDenoiseOptions(NoiseOptions):
    """U-Net autoencoder that restores images from additive noise."""

    name: ClassVar[str] = "unet_denoise"
    version: ClassVar[int] = 2


class UnetMixedOptions(NoiseOptions, MaskOptions):
    """U-Net autoencoder that restores images with noise on every pixel and black patches over it."""

    name: ClassVar[str] = "unet_mixed"
    version: ClassVar[int] = 1
