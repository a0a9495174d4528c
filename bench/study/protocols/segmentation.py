"""Options of segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from bench.errors import UserError, unknown
from bench.study.encoders import ONE_LAYER
from bench.study.protocols.options import ProtocolOptions

Decoder = Literal["unet", "pspnet", "deeplabv3plus", "fpn", "upernet"]
IGNORED = "ignore"  # the key of a class map whose classes count nowhere


class SegmentationOptions(ProtocolOptions):
    """A decoder of segmentation-models-pytorch on the encoder's maps, trained on whole masks; budgets count images.

    The transfer recipe of arXiv 2402.16164 as its authors' later code has it: Adam with 5e-4, a cosine down to 2 % over
    the first 80 % of the steps and constant after, cross-entropy + Dice, flips and quarter turns alone. Batches and
    widths suit small images and few masks; theirs are

        {batch_size: 32, epochs: 50, width: 256, decoder: pspnet, encoder_state: [frozen, trained]}

    Unlike there a frozen encoder keeps the statistics of its batch norms, every test pixel counts, and the maps are
    standardised by fixed statistics of the train pool.
    """

    name: ClassVar[str] = "segmentation"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "decoder on the encoder's maps, trained on the masks of a few images"
    dense: ClassVar[bool] = True
    reads_features: ClassVar[bool] = False
    listed: ClassVar[tuple[str, ...]] = ("decoder", "encoder_state")

    decoder: Decoder = Field(default="unet", description="decoder; each takes the maps of the strides made for")
    width: int = Field(default=64, ge=64, multiple_of=64, description="channels of the decoder at its widest")
    encoder_state: Literal["frozen", "trained"] = Field(
        default="frozen", description="frozen: weights and batch statistics as pretraining left them"
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
    class_map: dict[str, tuple[str, ...]] | None = Field(
        default=None,
        description="classes to tell apart, each with the classes of the data it is made of; the key 'ignore' holds "
        "those that count nowhere; absent: the classes of the data",
    )
    folds: int = Field(default=3, ge=2, description="folds of the cross-validation inside the budget")

    def candidates(self) -> tuple[float, ...]:
        """Every learning rate the selection may choose, ascending."""
        return tuple(sorted({*(self.lr_grid or ()), self.lr}))

    def targets(self, class_names: Sequence[str]) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
        """The classes to tell apart, and for each class of the data the number of its target, None where ignored.

        Raises:
            UserError: the class map leaves a class of the data out, names one twice or one that is not there.
        """
        if self.class_map is None:
            return tuple(class_names), tuple(range(len(class_names)))
        names = tuple(name for name in self.class_map if name != IGNORED)
        target_of: dict[str, int | None] = {}
        for name, sources in self.class_map.items():
            for source in sources:
                if source not in class_names:
                    raise unknown("class", source, class_names, f"class_map.{name}")
                if source in target_of:
                    raise UserError(f"class_map.{name}: class {source!r} stands twice")
                target_of[source] = None if name == IGNORED else names.index(name)
        missing = [name for name in class_names if name not in target_of]
        if missing:
            raise UserError(f"class_map: {', '.join(missing)} left out; put it under a class or under {IGNORED!r}")
        return names, tuple(target_of[name] for name in class_names)

    @field_validator("class_map", mode="before")
    @classmethod
    def _lists(cls, value: object) -> object:
        if isinstance(value, dict):
            return {name: (sources,) if isinstance(sources, str) else sources for name, sources in value.items()}
        return value

    @model_validator(mode="after")
    def _fits(self) -> SegmentationOptions:
        if self.layers != ("last",):
            raise ValueError(f"segmentation reads maps of all depths: layers must be ['last'], not {list(self.layers)}")
        if self.draw_strategy != "balanced":
            raise ValueError("draw_strategy: budgets of images are stratified by what the images show; leave it out")
        if self.unfreeze_at is not None and self.encoder_state == "trained":
            raise ValueError("unfreeze_at: the encoder is trained from the start; leave it out or take frozen")
        named = [name for name in self.class_map or () if name != IGNORED]
        if self.class_map is not None and (len(named) < 2 or not all(self.class_map[name] for name in named)):
            raise ValueError("class_map: two classes or more, each with one or more classes of the data")
        return self


def check_encoder(encoder: str) -> None:
    """Raises UserError where features of this name are no map of the image that a decoder could read."""
    if encoder in ONE_LAYER:
        raise UserError(
            f"segmentation: {encoder!r} gives one vector per image, no patch tokens or maps for a decoder; "
            "valid: any network"
        )
