"""Options of supervised self-masking."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.methods.self_masking import check_masked
from bench.study.protocols.finetune import FinetuneOptions


class FinetuneMaskOptions(FinetuneOptions):
    """Supervised self-masking (arXiv 2409.07577): a mask over the frozen encoder and a linear head learn the budget.

    `lr` is the rate of the scores. Plain SGD with momentum 0.9 and no decay of the scores; weight_decay is the head's.
    The paper's recipe for a ResNet, with 150 passes over whole data sets:

        {lr: 50, head_lr: 1.4e-5, weight_decay: 1.0e-4, warmup: 0.267, epochs: 150, batch_size: 64}
    """

    name: ClassVar[str] = "finetune_mask"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "a mask over the frozen encoder and a linear head trained together on the labels"

    lr: float = Field(default=50.0, gt=0, description="peak learning rate of the scores (paper: 50, CLIP 10)")
    head_lr: float = Field(default=2e-4, gt=0, description="learning rate of the new head relative to the scores'")
    weight_decay: float = Field(default=1e-4, ge=0, description="decay of the head; the scores have none")
    masked: str = Field(
        default="weights", description="weights (kernels), as_published, or a regular expression of parameter names"
    )
    scale_gradient: bool = Field(default=True, description="differentiate the scale sqrt(1 / mean(M)) too")
    running_statistics: Literal["adapted", "frozen"] = Field(
        default="adapted", description="of batch norms: adapted, and counted as storage, or frozen"
    )

    @model_validator(mode="after")
    def _suits_masks(self) -> FinetuneMaskOptions:
        try:
            check_masked("masked", self.masked)
        except UserError as error:
            raise ValueError(str(error)) from None
        for option in ("last_blocks", "layer_decay", "drop_path", "betas"):
            value = getattr(self, option)
            if value != type(self).model_fields[option].default:
                raise ValueError(f"{option}: {value} is for weights that train, and here they are frozen; leave it out")
        return self
