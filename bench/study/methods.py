"""What may be set on each method: typed, bounded, described, with the paper. Torch-free, so that a plan checks it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.errors import UserError
from bench.study.encoders import Family, family

Precision = Literal["auto", "fp32", "bf16"]


class MethodOptions(BaseModel):
    """The options every method has.

    Class attributes:
        name: the method's name in a study.
        version: numerical version: raised whenever the same options and seed give other numbers than before.
        trains: whether there is anything to pretrain.
        seeded: whether the result depends on a seed.
        families: the encoder families the method can use; empty where it brings its own features.
        paper: where the method was published.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    version: ClassVar[int]
    trains: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    families: ClassVar[tuple[Family, ...]] = ()
    paper: ClassVar[str]

    @property
    def encoder_name(self) -> str:
        """The encoder of these options, as rows and `layer_names` know it."""
        return str(getattr(self, "encoder", self.name))

    @model_validator(mode="after")
    def _encoder_fits(self) -> Self:
        if self.families:
            self._check_encoder(self.encoder_name, getattr(self, "patch_size", None))
        return self

    def _check_encoder(self, encoder: str, patch_size: int | None) -> None:
        kind = family(encoder, key=f"{self.name}.encoder")
        if kind not in self.families:
            raise UserError(
                f"{self.name}.encoder: {encoder!r} is a {kind} network; {self.name} takes {' or '.join(self.families)}"
            )
        if patch_size is not None and kind not in ("vit", "timm"):
            raise UserError(f"{self.name}.patch_size: {patch_size} is set, but {encoder!r} has no patches")


class TrainedOptions(MethodOptions):
    """Options of every method that is pretrained.

    `lr` is the peak learning rate for exactly the `batch_size` stated: nothing rescales it. (A recipe that quotes a
    base rate per 256 images, as MAE's 1.5e-4, is entered as base x batch_size / 256.) AdamW with the method's `betas`,
    linear warm-up, then half a cosine to zero, set at each step; the last incomplete batch of an epoch is dropped.
    """

    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)

    encoder: str = Field(description="encoder preset, or timm/NAME where the method takes any network")
    patch_size: int | None = Field(None, ge=1, description="patch side in pixels (vit); null: by image size")
    epochs: int = Field(ge=1, description="passes over the train pool")
    batch_size: int = Field(256, ge=2, description="images per step, over all workers together")
    lr: float = Field(gt=0, description="peak learning rate for this batch size")
    weight_decay: float = Field(ge=0, description="AdamW weight decay; biases, norms and tokens are exempt")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps spent in linear warm-up")
    augmentation: str = Field("none", description="augmentation policy applied to the images before the pretext task")
    precision: Precision = Field("auto", description="auto: bf16 autocast on a GPU, fp32 on a CPU")


class MaeOptions(TrainedOptions):
    """Masked autoencoder: a transformer sees the visible patches, a light decoder predicts the removed ones."""

    name: ClassVar[str] = "mae"
    version: ClassVar[int] = 1
    families: ClassVar[tuple[Family, ...]] = ("vit",)
    paper: ClassVar[str] = "He et al., Masked Autoencoders Are Scalable Vision Learners, arXiv 2111.06377"
    betas: ClassVar[tuple[float, float]] = (0.9, 0.95)

    encoder: str = Field("vit_nano", description="vision transformer preset")
    epochs: int = Field(100, ge=1, description="passes over the train pool")
    lr: float = Field(2e-3, gt=0, description="peak learning rate for this batch size")
    weight_decay: float = Field(0.05, ge=0, description="AdamW weight decay; biases, norms and tokens are exempt")
    mask_ratio: float = Field(0.75, gt=0, lt=1, description="share of patches removed from the encoder's input")
    decoder_width: int = Field(32, ge=4, multiple_of=4, description="channels of the decoder (paper: 512)")
    decoder_depth: int = Field(1, ge=1, description="blocks of the decoder (paper: 8)")
    decoder_heads: int = Field(4, ge=1, description="attention heads of the decoder (paper: 16)")
    norm_pix: bool = Field(True, description="standardise each target patch by its own mean and variance")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.decoder_width % self.decoder_heads:
            raise UserError(
                f"mae.decoder_heads: {self.decoder_heads} does not divide mae.decoder_width {self.decoder_width}"
            )
        return self


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


class RandomInitOptions(MethodOptions):
    """An encoder as it was initialised: what pretraining has to beat; with `finetune`, supervised from scratch."""

    name: ClassVar[str] = "random_init"
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = False
    families: ClassVar[tuple[Family, ...]] = ("vit", "conv", "unet", "timm")
    paper: ClassVar[str] = "no pretraining"

    encoder: str = Field("vit_nano", description="encoder preset, or timm/NAME")
    patch_size: int | None = Field(None, ge=1, description="patch side in pixels (vit); null: by image size")
    skip: bool = Field(True, description="whether a U-Net's decoder reads the encoder's maps")


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


METHODS: dict[str, type[MethodOptions]] = {
    options.name: options
    for options in (
        MaeOptions,
        UnetMaskedOptions,
        UnetDenoiseOptions,
        SimclrOptions,
        RandomInitOptions,
        PixelsOptions,
        TimmOptions,
    )
}


def resolve_precision(options: MethodOptions, gpus: int) -> MethodOptions:
    """The options with precision "auto" replaced: bf16 with a GPU, fp32 without; others are returned as they are."""
    if not isinstance(options, TrainedOptions) or options.precision != "auto":
        return options
    return options.model_copy(update={"precision": "bf16" if gpus else "fp32"})


def promoted(options: MethodOptions) -> dict[str, float | None]:
    """The axes that have a column of their own in the table of rows: mask_ratio and noise_level, null where absent."""
    return {"mask_ratio": getattr(options, "mask_ratio", None), "noise_level": getattr(options, "sigma", None)}


def weights_digest(options: MethodOptions) -> str | None:
    """SHA-256 of the weights file the options name, so that a key follows its content; None where none is named.

    Raises:
        UserError: the file does not exist.
    """
    weights = getattr(options, "weights", None)
    if weights is None:
        return None
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UserError(f"{options.name}.weights: there is no file {weights!r}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
