"""Options of fine-tuning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.encoders import ONE_LAYER, family, preset
from bench.study.protocols.imbalance import REMEDY, Remedy, check_augmented
from bench.study.protocols.options import ProtocolOptions

HARD_LABELS = ("class_weights", "focal", "logit_adjustment")  # losses of one true class per image


class FinetuneOptions(ProtocolOptions):
    """Fine-tuning: encoder and linear head trained together on the budget (MAE recipe, arXiv 2111.06377, table 9).

    The defaults suit small networks and few labels. The paper's recipe for a ViT-B on ImageNet (its learning rates are
    per 256 images, here as they are used: 5e-4 x 1024 / 256):

        {lr: 2.0e-3, batch_size: 1024, epochs: 100, warmup: 0.05, weight_decay: 0.05, layer_decay: 0.65,
         augmentation: crop_flip, rand_augment: 9, mixup: 0.8, cutmix: 1.0, label_smoothing: 0.1, erase: 0.25,
         drop_path: 0.1, head_lr: 1.0}

    and for a ViT-L: lr 4.0e-3, epochs 50, warmup 0.1, layer_decay 0.75, drop_path 0.2. From scratch (method
    random_init) with a ViT-B, 1e-4 x 4096 / 256:

        {lr: 1.6e-3, batch_size: 4096, epochs: 300, warmup: 0.0667, weight_decay: 0.3, betas: [0.9, 0.95],
         augmentation: crop_flip, rand_augment: 9, mixup: 0.8, cutmix: 1.0, label_smoothing: 0.1,
         drop_path: 0.1, ema: 0.9999, head_lr: 1.0}

    (ViT-L: epochs 200, warmup 0.1, drop_path 0.2). Unlike there, the schedule ends at 0 rather than 1e-6, and the
    pooled features are standardised by fixed statistics where the paper has a new LayerNorm.
    """

    name: ClassVar[str] = "finetune"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "encoder and linear head trained together on the labels"
    reads_features: ClassVar[bool] = False
    listed: ClassVar[tuple[str, ...]] = ("draw_strategy", "imbalance")

    lr: float = Field(default=3e-3, gt=0, description="peak learning rate; large networks want less")
    lr_grid: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, description="candidates of the learning rate; only lr when absent"
    )
    steps: int = Field(default=100, ge=1, description="steps of the optimiser, at least")
    epochs: int = Field(default=15, ge=0, description="passes over the budget, at least")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps while the learning rate rises")
    batch_size: int = Field(default=64, ge=1, description="images per step; never more than the budget holds")
    weight_decay: float = Field(default=0.05, ge=0, description="AdamW's, on matrices and kernels only")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        default=(0.9, 0.999), description="AdamW's decay rates of the gradient's mean and square"
    )
    augmentation: str = Field(default="affine", description="name of an augmentation policy, or 'none'")
    rand_augment: Annotated[int, Field(ge=0, le=10)] | None = Field(
        default=None, description="magnitude of RandAugment, two operations on top of the augmentation; absent: none"
    )
    erase: float = Field(default=0.0, ge=0, le=1, description="chance that a rectangle of an image becomes noise")
    mixup: float = Field(default=0.0, ge=0, description="alpha of mixup's Beta(alpha, alpha); 0: none")
    cutmix: float = Field(
        default=0.0, ge=0, description="alpha of cutmix; with mixup, each batch takes one of the two at even odds"
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share of a target spread over all classes")
    drop_path: float = Field(
        default=0.0, ge=0, lt=1, description="chance that the last residual block is skipped; rises from 0 at the first"
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="decay of the running average of the weights that is scored, (1 + t) / (10 + t) at step t if that "
        "is less; absent: the last weights",
    )
    layer_decay: float = Field(default=1.0, gt=0, le=1, description="learning rate of each block relative to the next")
    head_lr: float = Field(default=3.0, gt=0, description="learning rate of the new head relative to the encoder's")
    last_blocks: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="blocks that train, from the top, with the head; 0: the head alone; absent: all"
    )
    imbalance: Remedy = Field(default="none", description=REMEDY)
    folds: int = Field(default=3, ge=2, description="folds of the cross-validation inside the budget")

    def candidates(self) -> tuple[float, ...]:
        """Every learning rate the selection may choose, ascending."""
        return tuple(sorted({*(self.lr_grid or ()), self.lr}))

    @model_validator(mode="after")
    def _one_layer(self) -> FinetuneOptions:
        if self.layers != ("last",):
            raise ValueError(f"finetune trains the whole encoder: layers must be ['last'], not {list(self.layers)}")
        return self

    @model_validator(mode="after")
    def _remedy(self) -> FinetuneOptions:
        try:
            check_augmented(self.imbalance, self.augmentation, self.name)
        except UserError as error:
            raise ValueError(str(error)) from None
        soft = [name for name in ("mixup", "cutmix", "label_smoothing") if getattr(self, name)]
        if soft and self.imbalance in HARD_LABELS:
            raise ValueError(
                f"imbalance: {self.imbalance!r} needs one class per image, which {', '.join(soft)} "
                "does not leave; valid here: none, balanced_sampling, rare_augmentation"
            )
        return self


def check_encoder(options: FinetuneOptions, encoder: str, channels: int) -> None:
    """Checks what the options ask of a network, as far as its name tells; timm's networks are asked once built.

    Args:
        options: of the fine-tuning.
        encoder: a preset, or a name with a prefix.
        channels: of the images.

    Raises:
        UserError: no weights, too many blocks, no residual blocks to drop, or images RandAugment is not defined for.
    """
    if options.rand_augment is not None and channels not in (1, 3):
        raise UserError(f"rand_augment: needs images of 1 or 3 channels, these have {channels}; valid here: null")
    if encoder in ONE_LAYER:
        raise UserError(f"methods: {encoder} has no weights to train; name the methods to fine-tune, without it")
    if "/" in encoder:
        return
    kind, blocks = family(encoder), preset(encoder).depth + (family(encoder) == "unet")
    if options.drop_path and kind != "vit":
        raise UserError(
            f"drop_path: {options.drop_path} asks for residual blocks, and {encoder} has none; valid here: 0"
        )
    if options.last_blocks is not None and options.last_blocks > blocks:
        raise UserError(
            f"last_blocks: {options.last_blocks} is more than the {blocks} blocks of {encoder}; valid: 0 to {blocks}"
        )
