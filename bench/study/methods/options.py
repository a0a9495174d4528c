"""What every method may be told, and what every pretrained one may."""

from __future__ import annotations

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
        staged: whether several networks are trained, one behind the other; worker groups train one.
        own_layers: the layers of what the method leaves behind, where they are not those of its network.
        families: the encoder families the method can use; empty where it brings its own features.
        needs_masks: whether it learns from the masks of the train pool.
        paper: where the method was published.
        implementation: of a plug-in, where its network side is: "package.module:Class", a subclass of
            `bench.methods.base.Method`. Empty for the methods of bench, which `bench.methods.registry` lists.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    version: ClassVar[int]
    trains: ClassVar[bool] = True
    seeded: ClassVar[bool] = True
    staged: ClassVar[bool] = False
    own_layers: ClassVar[tuple[str, ...]] = ()
    families: ClassVar[tuple[Family, ...]] = ()
    needs_masks: ClassVar[bool] = False
    paper: ClassVar[str]
    implementation: ClassVar[str] = ""

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

    def weight_decay_at(self, step: int, steps: int) -> float | None:
        """The weight decay of a step of the training; None: it stays as it is."""
        return None
