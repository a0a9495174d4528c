"""Options of segmentation."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.encoders import ENCODERS, ONE_LAYER, family, preset
from bench.study.protocols.class_map import ClassMapOptions

Decoder = Literal["unet", "pspnet", "deeplabv3plus", "fpn", "upernet"]


class SegmentationOptions(ClassMapOptions):
    """A decoder of segmentation-models-pytorch on the encoder's maps, trained on whole masks; budgets count images.

    The transfer recipe of arXiv 2402.16164 as its authors' later code has it: Adam with 5e-4, a cosine down to 2 % over
    the first 80 % of the steps and constant after, cross-entropy + Dice, flips and quarter turns alone. Batches and
    widths suit small images and few masks; theirs are

        {batch_size: 32, epochs: 50, width: 256, decoder: pspnet, encoder_state: [frozen, trained]}

    Between the two, `{encoder_state: partial, frozen_blocks: 2}` freezes the first blocks, as `bench drift` may advise.
    Unlike there a frozen encoder keeps the statistics of its batch norms, every test pixel counts, and the maps are
    standardised by fixed statistics of the train pool.
    """

    name: ClassVar[str] = "segmentation"
    version: ClassVar[int] = 3
    summary: ClassVar[str] = "decoder on the encoder's maps, trained on the masks of a few images"
    dense: ClassVar[bool] = True
    budget_unit: ClassVar[tuple[str, str]] = ("labelled image", "labelled images")
    reads_features: ClassVar[bool] = False
    listed: ClassVar[tuple[str, ...]] = ("decoder", "encoder_state", "frozen_blocks")

    decoder: Decoder = Field(default="unet", description="decoder; each takes the maps of the strides made for")
    width: int = Field(default=64, ge=64, multiple_of=64, description="channels of the decoder at its widest")
    encoder_state: Literal["frozen", "partial", "trained"] = Field(
        default="frozen",
        description="frozen: weights and batch statistics as pretraining left them; partial: those of the first blocks",
    )
    frozen_blocks: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="blocks that stay frozen under partial, from the image on: levels of a U-Net's encoder, stages, "
        "blocks of a vision transformer",
    )
    unfreeze_at: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="epoch from which a frozen encoder trains after all; absent: never"
    )
    loss: Literal["ce", "dice", "ce_dice"] = Field(default="ce_dice", description="ce_dice: the sum of both")
    lr: float = Field(default=5e-4, gt=0, description="Adam's peak learning rate, of decoder and encoder")
    lr_grid: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, description="candidates of the learning rate; only lr when absent"
    )
    steps: int = Field(default=200, ge=1, description="steps of the optimiser, at least")
    epochs: int = Field(default=10, ge=0, description="passes over the budget, at least")
    batch_size: int = Field(default=8, ge=2, description="images per step; never more than the budget holds")
    augmentation: Literal["none", "flip_rotate"] = Field(
        default="flip_rotate", description="of image and mask together; flip_rotate: flips, and quarter turns"
    )
    folds: int = Field(default=3, ge=2, description="folds of the cross-validation inside the budget")

    def candidates(self) -> tuple[float, ...]:
        """Every learning rate the selection may choose, ascending."""
        return tuple(sorted({*(self.lr_grid or ()), self.lr}))

    @model_validator(mode="after")
    def _fits(self) -> SegmentationOptions:
        if self.layers != ("last",):
            raise ValueError(f"segmentation reads maps of all depths: layers must be ['last'], not {list(self.layers)}")
        if self.draw_strategy != "balanced":
            raise ValueError("draw_strategy: budgets of images are stratified by what the images show; leave it out")
        if self.unfreeze_at is not None and self.encoder_state != "frozen":
            raise ValueError("unfreeze_at: the encoder is trained from the start; leave it out or take frozen")
        if (self.frozen_blocks is not None) != (self.encoder_state == "partial"):
            raise ValueError(
                f"frozen_blocks: {self.frozen_blocks} with encoder_state {self.encoder_state}; a number of blocks goes "
                "with partial, and with nothing else"
            )
        return self


def check_encoder(encoder: str, frozen_blocks: int | None = None) -> None:
    """Raises UserError where features of this name are no map of the image that a decoder could read, or where so many
    frozen blocks leave none to train; timm's networks are asked once built.
    """
    if encoder in ENCODERS and frozen_blocks is not None:
        blocks = preset(encoder).depth + (family(encoder) == "unet")
        if frozen_blocks >= blocks:
            raise UserError(
                f"frozen_blocks: {frozen_blocks} leaves none of the {blocks} blocks of {encoder} to train; "
                f"valid: 1 to {blocks - 1}"
            )
    if encoder in ONE_LAYER:
        raise UserError(
            f"segmentation: {encoder!r} gives one vector per image, no patch tokens or maps for a decoder; "
            "valid: any network"
        )
