"""Options of the masked autoencoder."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.encoders import Family
from bench.study.methods.options import TrainedOptions

GRID_RATIO = 0.75


class MaeOptions(TrainedOptions):
    """Masked autoencoder: a transformer sees the visible patches, a light decoder predicts the removed ones."""

    name: ClassVar[str] = "mae"
    version: ClassVar[int] = 2
    families: ClassVar[tuple[Family, ...]] = ("vit", "timm")
    paper: ClassVar[str] = "He et al., Masked Autoencoders Are Scalable Vision Learners, arXiv 2111.06377"
    betas: ClassVar[tuple[float, float]] = (0.9, 0.95)

    encoder: str = Field("vit_nano", description="vision transformer preset, or timm/NAME of a plain one")
    epochs: int = Field(100, ge=1, description="passes over the train pool")
    lr: float = Field(2e-3, gt=0, description="peak learning rate for this batch size")
    weight_decay: float = Field(0.05, ge=0, description="AdamW weight decay; biases, norms and tokens are exempt")
    mask_ratio: float = Field(0.75, gt=0, lt=1, description="share of patches removed from the encoder's input")
    sampling: Literal["random", "block", "grid"] = Field(
        "random", description="removed patches: one by one, in rectangles (BEiT's), or all but one of every four"
    )
    mask_tokens_in_encoder: bool = Field(
        False, description="ablation: the encoder sees a mask token in the place of each removed patch"
    )
    decoded: float = Field(1.0, gt=0, le=1, description="share of the removed patches that are decoded, at random")
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

    @model_validator(mode="after")
    def _grid_is_three_quarters(self) -> Self:
        if self.sampling == "grid" and self.mask_ratio != GRID_RATIO:
            raise UserError(
                f"mae.mask_ratio: {self.mask_ratio}, but mae.sampling grid keeps one of every four patches; "
                f"valid: {GRID_RATIO}"
            )
        return self
