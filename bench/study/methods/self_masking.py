"""Options of self-masking networks."""

from __future__ import annotations

import re
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from bench.errors import UserError
from bench.study.encoders import family
from bench.study.methods.swav import SwavOptions

Mode = Literal["mask", "topk", "random_mask", "batchnorm", "full", "frozen"]
Routing = Literal["conditional", "unconditional"]
MASKED_SETS = ("weights", "as_published")
CASCADE = "cascade"  # the one layer of a cascade


class SelfMaskingOptions(SwavOptions):
    """Binary masks over a frozen backbone, learned from unlabelled images by swapped assignments; and its controls.

    The backbone is an encoder that an earlier study kept, a weights file or timm's own weights; where none is named it
    is a random initialisation, as in edge-popup. Plain SGD with momentum and no decay of the scores, as the paper's
    theorems ask; half a cosine without warm-up.

    `mode` says what is learned of the backbone: `mask` (a score for every weight, and the mask of those above the
    threshold), `topk` (edge-popup: the share `density` of the highest scores), `random_mask` (nothing: masks drawn
    once), `batchnorm` (nothing but running statistics), `full` (all weights, at `lr`), `frozen` (nothing: the backbone
    as it is, for which epochs: 1 will do).
    """

    name: ClassVar[str] = "self_masking"
    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Warmerdam et al., Self-Masking Networks for Unsupervised Adaptation, arXiv 2409.07577"

    batch_size: int = Field(64, ge=2, description="images per step, over all workers together")
    lr: float = Field(0.15, gt=0, description="peak learning rate of projection and prototypes; of all weights in full")
    weight_decay: float = Field(1e-6, ge=0, description="decay of what learns at lr; the scores have none")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the steps spent in linear warm-up (paper: none)")
    projection_width: int = Field(
        0, ge=0, description="hidden width of the projection; 0: a linear one, as in the paper"
    )
    projection_out: int = Field(128, ge=1, description="output width of the projection")
    prototypes: int = Field(128, ge=2, description="prototypes that images are assigned to (paper: 500)")

    weights: str | None = Field(
        None, description="the backbone: folder of an encoder, or weights file of a timm network; null: see pretrained"
    )
    pretrained: bool = Field(False, description="timm's weights as the backbone; false without weights: random ones")
    mode: Mode = Field("mask", description="what is learned: mask, topk, random_mask, batchnorm, full or frozen")
    masked: str = Field(
        "weights", description="weights (kernels), as_published, or a regular expression of parameter names"
    )
    threshold: float = Field(0.0, description="scores above it keep their weight")
    score_init: float = Field(1.0, description="every score at the start")
    score_lr: float = Field(50.0, gt=0, description="peak learning rate of the scores")
    scale_gradient: bool = Field(True, description="differentiate the scale sqrt(1 / mean(M)) too, as published")
    density: float = Field(0.5, gt=0, le=1, description="share of open weights (topk and random_mask)")
    densities: str | None = Field(
        None, description="mask file, or folder that holds one, whose density of each tensor replaces density"
    )
    running_statistics: Literal["adapted", "frozen"] = Field(
        "adapted", description="of batch norms: adapted, and counted as storage, or frozen"
    )

    @model_validator(mode="after")
    def _one_backbone(self) -> Self:
        is_timm = family(self.encoder) == "timm"
        if self.pretrained and self.weights is not None:
            raise UserError(f"{self.name}: set {self.name}.weights or {self.name}.pretrained: true, not both")
        if self.pretrained and not is_timm:
            raise UserError(f"{self.name}.pretrained: timm has no weights for {self.encoder!r}; take timm/NAME")
        return self

    @model_validator(mode="after")
    def _mask_can_be_made(self) -> Self:
        check_masked(f"{self.name}.masked", self.masked)
        if self.score_init <= self.threshold:
            raise UserError(
                f"{self.name}.score_init: {self.score_init} is not above {self.name}.threshold {self.threshold}: "
                f"every mask would start closed"
            )
        if self.densities is not None and self.mode not in ("topk", "random_mask"):
            raise UserError(
                f"{self.name}.densities: mode {self.mode!r} chooses no density; valid with: topk, random_mask"
            )
        return self

    @model_validator(mode="after")
    def _statistics_can_adapt(self) -> Self:
        if self.mode != "batchnorm":
            return self
        if family(self.encoder) != "timm":
            raise UserError(
                f"self_masking.mode: 'batchnorm' adapts the statistics of batch norms, and {self.encoder!r} has none; "
                f"take timm/NAME of a network with batch norm, or another mode"
            )
        if self.running_statistics == "frozen":
            raise UserError(
                "self_masking.mode: 'batchnorm' adapts running statistics, and self_masking.running_statistics is "
                "'frozen'"
            )
        return self


class SelfMaskingCascadeOptions(SelfMaskingOptions):
    """A self-masking network that sends images to experts: masks of the same backbone, each tuned to one cluster.

    The dispatcher is `self_masking` in mode mask, trained with the same options. Its features, as unit vectors, reduced
    and whitened, are clustered by a mixture of Gaussians, and its scores are trained on by each cluster alone. Of every
    image the features of dispatcher and experts stand side by side, reduced by PCA to the width of one network, and
    whitened. A cluster that does not fill a batch is merged into the others.

    With experts: 0 it is the control that whitening calls for: the dispatcher alone, whitened in the same way.
    """

    name: ClassVar[str] = "self_masking_cascade"
    version: ClassVar[int] = 1
    staged: ClassVar[bool] = True
    own_layers: ClassVar[tuple[str, ...]] = (CASCADE,)
    paper: ClassVar[str] = "Warmerdam et al., Self-Masking Networks, arXiv 2409.07577, section 3.4"

    mode: Literal["mask"] = Field("mask", description="what is learned: mask")
    experts: int = Field(
        5, ge=0, description="clusters of the dispatcher's features, with an expert each; 0: a single whitened mask"
    )
    clusters_dimensions: int = Field(20, ge=1, description="whitened directions that the clusters are found in")
    routing: Routing = Field(
        "conditional",
        description="conditional: an image passes the dispatcher and the expert of its cluster; unconditional: all",
    )
    expert_epochs: int | None = Field(
        None, ge=1, description="passes over its cluster of each expert; null: as many steps as the dispatcher takes"
    )


def check_masked(key: str, masked: str) -> None:
    """Raises UserError where the masked set is neither one of the named ones nor a regular expression."""
    try:
        re.compile(masked)
    except re.error as error:
        raise UserError(
            f"{key}: {masked!r} is none of {', '.join(MASKED_SETS)}, and no regular expression: {error}"
        ) from error
