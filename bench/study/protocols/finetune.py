"""Options of fine-tuning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from bench.study.protocols.options import ProtocolOptions


class FinetuneOptions(ProtocolOptions):
    """Fine-tuning: encoder and linear head trained together on the budget (MAE recipe, arXiv 2111.06377, table 9)."""

    name: ClassVar[str] = "finetune"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "encoder and linear head trained together on the labels"

    lr: float = Field(default=3e-3, gt=0, description="peak learning rate; large networks want less")
    lr_grid: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, description="candidates of the learning rate; only lr when absent"
    )
    steps: int = Field(default=100, ge=1, description="steps of the optimiser, at least")
    epochs: int = Field(default=15, ge=0, description="passes over the budget, at least")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps while the learning rate rises")
    batch_size: int = Field(default=64, ge=1, description="images per step; never more than the budget holds")
    weight_decay: float = Field(default=0.05, ge=0, description="AdamW's, on matrices and kernels only")
    augmentation: str = Field(default="affine", description="name of an augmentation policy, or 'none'")
    layer_decay: float = Field(default=1.0, gt=0, le=1, description="learning rate of each block relative to the next")
    head_lr: float = Field(default=3.0, gt=0, description="learning rate of the new head relative to the encoder's")
    folds: int = Field(default=3, ge=2, description="folds of the cross-validation inside the budget")

    def candidates(self) -> tuple[float, ...]:
        """Every learning rate the selection may choose, ascending."""
        return tuple(sorted({*(self.lr_grid or ()), self.lr}))

    @model_validator(mode="after")
    def _one_layer(self) -> FinetuneOptions:
        if self.layers != ("last",):
            raise ValueError(f"finetune trains the whole encoder: layers must be ['last'], not {list(self.layers)}")
        return self
