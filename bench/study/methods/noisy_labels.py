"""Options of pretraining on noisy masks."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from bench.study.encoders import Family
from bench.study.methods.options import TrainedOptions

LabelNoise = Literal[
    "none", "flip", "flip_pixels", "class_conditional", "shift", "rotation", "erosion", "dilation", "remove", "add",
    "coarsen", "stale", "permuted",
]  # fmt: skip
Handling = Literal["none", "label_smoothing", "confidence_selection"]


class NoisyLabelsOptions(TrainedOptions):
    """Supervised segmentation of noisy masks: a U-Net learns from corrupted labels, its encoder is what is kept.

    The presets of U-Nets and `unet/NAME` (unet/resnet18 is a published network) bring their own decoder; any other
    encoder gets one of segmentation-models-pytorch. Cross-entropy + Dice, Adam without weight decay, flips and quarter
    turns alone, as published. The masks are those of the train pool, corrupted once. At rate 0 (or noise none) this is
    pretraining on clean labels.
    """

    name: ClassVar[str] = "noisy_labels"
    version: ClassVar[int] = 1
    families: ClassVar[tuple[Family, ...]] = ("unet", "conv", "vit", "timm")
    needs_masks: ClassVar[bool] = True
    paper: ClassVar[str] = "Liu et al., Task-specific pretraining with noisy labels, arXiv 2402.16164"

    encoder: str = Field("unet_nano", description="encoder preset, unet/NAME or timm/NAME")
    epochs: int = Field(30, ge=1, description="passes over the train pool")
    batch_size: int = Field(32, ge=2, description="images per step, over all workers together")
    lr: float = Field(5e-3, gt=0, description="peak learning rate for this batch size")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay; biases and norms are exempt (paper: 1e-8)")
    augmentation: Literal["none", "flip_rotate"] = Field(
        "flip_rotate", description="of image and mask together; flip_rotate: flips, and quarter turns of squares"
    )
    noise: LabelNoise = Field(
        "flip",
        description="what is wrong with the masks: objects of another class (flip, class_conditional: the next), moved "
        "(shift, rotation, stale: anywhere), shrunk or grown (erosion, dilation), missing or made up (remove, add); "
        "pixels of another class (flip_pixels); blocks of one class (coarsen); masks of other images (permuted)",
    )
    rate: float = Field(
        0.3, ge=0, le=1, description="share of the objects touched (of pixels, blocks, images); 0 is noise none"
    )
    noise_seed: int = Field(0, ge=0, description="realisation of the noise, whatever the seed of the training")
    clean_share: float = Field(
        0.0, ge=0, le=1, description="share of the images whose masks stay clean: joint training on both"
    )
    handling: Handling = Field(
        "none",
        description="label_smoothing: 0.8 label + 0.15 labels around + 0.05 uniform; confidence_selection: of each "
        "class the most confident pixels, from all down to half over the first 40 % of the steps",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_clean_setting(cls, values: object) -> object:
        """Whatever the noise, rate 0 is the same training: one setting, with one key."""
        if isinstance(values, dict) and (values.get("noise") == "none" or values.get("rate") in (0, 0.0)):
            return values | {"noise": "none", "rate": 0.0}
        return values
