"""Options of fusion with a partner encoder, and the names of its controls."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, NamedTuple, Self, cast

from pydantic import Field, model_validator

from bench.study.methods.partner import PIXELS, PartnerOptions
from bench.study.protocols.imbalance import check_augmented, check_convex, check_on_features
from bench.study.protocols.options import HeadOptions, ProtocolOptions

Fuse = Literal["concat", "gated", "cross_attention"]
Control = Literal["partner_only", "second_partner", "pixels_pca"]

PARTNER_ONLY: Control = "partner_only"
SECOND_PARTNER: Control = "second_partner"
PIXELS_PCA: Control = "pixels_pca"
CONTROLS: tuple[Control, ...] = (PARTNER_ONLY, SECOND_PARTNER, PIXELS_PCA)

_HEADS_LR, _HEADS_GRID = 1e-3, (3e-4, 1e-3, 3e-3)
_PUBLISHED_LR = 1e-4
_NAME = re.compile(r"(?:(partner_only|second_partner|pixels_pca)(?:_(\d+))?)?_?(concat|gated|cross_attention)?")


class Join(NamedTuple):
    """What a cell's `fuse` says: what the partner is joined with, and how.

    `control` is None where that is a layer of the entrant's encoder; `dimensions` are those of a PCA of pixels.
    """

    control: Control | None
    fuse: Fuse
    dimensions: int | None = None

    @property
    def name(self) -> str:
        """concat, gated, ...; partner_only, second_partner_gated, pixels_pca_64: a control that is concatenated, or
        stands alone under the same head, goes by its own name."""
        if self.control is None:
            return self.fuse
        base = self.control if self.dimensions is None else f"{self.control}_{self.dimensions}"
        return base if self.fuse == "concat" else f"{base}_{self.fuse}"

    @classmethod
    def parse(cls, name: str) -> Join:
        """The inverse of `name`. Raises ValueError for a name that none has."""
        match = _NAME.fullmatch(name)
        control, dimensions, fuse = match.groups() if match else (None, None, None)
        join = cls(
            cast("Control | None", control), cast("Fuse", fuse or "concat"), int(dimensions) if dimensions else None
        )
        if join.name != name:
            raise ValueError(f"{name!r} names no fusion")
        return join


class FusionOptions(HeadOptions):
    """Fusion: a layer joined with a partner's features under one head (P2, arXiv 2410.19899, stage 2).

    The partner's own scores, and those of the partner joined with something that was not pretrained here, belong to the
    entrant `partner`, which the plan adds once for each partner. Fusion with a random U-Net is the method `random_init`
    with a U-Net under the same entry.

    A linear head on kept, concatenated features is the exact logistic regression of the linear probe. Everything else
    is trained by AdamW with half a cosine (published: Adam at a constant rate, the best epoch on validation labels).
    Joint heads: concatenation; a gate between the two (arXiv 1702.01992); cross-attention, where the positions of the
    partner's last map attend to those of the layer's. (The published attention is over a single position: a no-op.)
    """

    name: ClassVar[str] = "fusion"
    version: ClassVar[int] = 4
    summary: ClassVar[str] = "one head on a layer joined with a partner encoder's features"
    cell_fields: ClassVar[frozenset[str]] = ProtocolOptions.cell_fields | {"fuse", "controls", "pca_dimensions"}

    fuse: tuple[Fuse, ...] = Field(default=("concat",), min_length=1, description="how the two are joined")
    head: Literal["linear", "mlp"] = Field(
        default="linear", description="'linear', or 'mlp': the published D-512-ReLU-64-ReLU-classes"
    )
    partner: str = Field(
        default="timm/tf_efficientnet_b7.aa_in1k",  # timm has no weights under the plain name efficientnet_b7
        description="'timm/NAME' with timm's weights for it, an encoder preset at random initialisation, or 'pixels'",
    )
    partner_weights: str | None = Field(
        default=None, description="path of a weights file for the partner; of a preset: an encoder.safetensors"
    )
    partner_seed: int = Field(default=0, ge=0, description="names the initialisation of a preset partner")
    train_partner: bool = Field(
        default=False, description="train the partner with the head, the layer's features frozen (published recipe)"
    )
    controls: tuple[Control, ...] | None = Field(
        default=None, description="controls to score; all that the partner has when absent"
    )
    pca_dimensions: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None, description="dimensions of the PCA of pixels; those of the layers judged when absent"
    )
    width: int = Field(default=128, ge=4, multiple_of=4, description="channels that gate and attention work in")
    tokens: int = Field(default=7, ge=2, description="positions a side that maps are pooled to, for cross_attention")
    lr: float | None = Field(
        default=None, gt=0, description="peak learning rate of trained heads; 1e-3, with train_partner 1e-4"
    )
    lr_grid: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, description="candidates of lr, which always is one; 3e-4, 1e-3, 3e-3, with train_partner none"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's, on matrices and kernels only; published: 0")
    steps: int = Field(default=100, ge=1, description="steps of the optimiser, at least")
    epochs: int = Field(default=60, ge=0, description="passes over the budget, at least")
    batch_size: int = Field(default=256, ge=1, description="images per step; never more than the budget holds")
    augmentation: str = Field(
        default="none", description="name of an augmentation policy for the images of a partner in training"
    )

    def exact(self, fuse: Fuse) -> bool:
        """Whether the head is the logistic regression of the linear probe, solved rather than trained."""
        return fuse == "concat" and self.head == "linear" and not self.train_partner

    @property
    def default_lr(self) -> float:
        """The learning rate where nothing is selected; ties of a selection go to it."""
        return self.lr if self.lr is not None else _PUBLISHED_LR if self.train_partner else _HEADS_LR

    def rates(self) -> tuple[float, ...]:
        """Every learning rate the selection may choose, ascending."""
        grid = self.lr_grid if self.lr_grid is not None else () if self.train_partner else _HEADS_GRID
        return tuple(sorted({*grid, self.default_lr}))

    def partner_options(self) -> PartnerOptions:
        """The partner as a method's options."""
        plain = PartnerOptions(encoder=self.partner, weights=self.partner_weights)
        return plain if plain.deterministic else plain.model_copy(update={"init_seed": self.partner_seed})

    def scored_controls(self) -> tuple[Control, ...]:
        """The controls asked for, without a second partner where there can be only one."""
        if self.controls is not None:
            return self.controls
        single = self.partner_options().deterministic
        return tuple(control for control in CONTROLS if not (control == SECOND_PARTNER and single))

    def control_joins(self, dimensions: tuple[int, ...]) -> list[Join]:
        """The controls as cells name them; a PCA of pixels has no positions to attend to."""
        asked = self.scored_controls()
        joins = []
        for fuse in self.fuse:
            joins += [Join(control, fuse) for control in (PARTNER_ONLY, SECOND_PARTNER) if control in asked]
            if PIXELS_PCA in asked and fuse != "cross_attention":
                joins += [Join(PIXELS_PCA, fuse, number) for number in dimensions]
        return joins

    def check_remedy(self) -> None:
        if any(self.exact(fuse) for fuse in self.fuse):
            check_convex(self.imbalance, "fusion with a linear head on concatenated features")
        elif not self.train_partner:
            check_on_features(self.imbalance, "fusion with a frozen partner")
        else:
            check_augmented(self.imbalance, self.augmentation, "fusion")

    @model_validator(mode="after")
    def _partner_fits(self) -> Self:
        if self.partner == PIXELS and (self.train_partner or self.partner_weights is not None):
            option = "train_partner" if self.train_partner else "partner_weights"
            raise ValueError(f"{option}: the partner 'pixels' has no weights")
        if self.augmentation != "none" and not self.train_partner:
            raise ValueError(
                f"augmentation: {self.augmentation!r} needs train_partner: true; features are kept of the images as "
                "they are"
            )
        if SECOND_PARTNER in (self.controls or ()) and self.partner_options().deterministic:
            raise ValueError(
                f"controls: there is no second {self.partner}: only a preset at random initialisation has another seed"
            )
        return self
