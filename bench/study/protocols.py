"""How an encoder may be judged: the typed options of each protocol, and the cells a set of options asks for.

Nothing here imports torch, so a plan can check a study and name its rows at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

ALL = "all"  # the label budget that holds the whole train pool; it has the one draw 0
NO_LAYER = "none"  # the layer of a cell that reads no layer of the encoder (the partner alone)
PARTNER_ONLY = "partner_only"  # the control of fusion: the same head on the partner's features alone
WITHIN_BUDGET_FROM = 10  # labels per class from which "auto" cross-validates (statistics.md, section 4)

Selection = Literal["auto", "fixed", "within_budget", "held_out"]


class Cell(NamedTuple):
    """One score a protocol is asked for."""

    label_budget: str
    draw: int
    layer: str
    fuse: str | None


def budget_order(label_budget: str) -> tuple[bool, int]:
    """Sort key of a label budget: by labels per class, "all" last."""
    return (True, 0) if label_budget == ALL else (False, int(label_budget))


def _budgets(value: Any) -> Any:
    """Label budgets in one spelling: strings, ascending, each once."""
    if isinstance(value, str | int | float):
        value = (value,)
    budgets = {_budget(item) for item in value}
    if not budgets:
        raise ValueError("name at least one label budget, e.g. [1, 10, all]")
    return tuple(sorted(budgets, key=budget_order))


def _budget(value: object) -> str:
    text = str(value)
    if isinstance(value, bool) or not (text == ALL or (text.isdecimal() and int(text) > 0)):
        raise ValueError(f"{value!r} is no label budget; valid: a number of labels per class (1, 2, ...) or 'all'")
    return text if text == ALL else str(int(text))


def _names(value: Any) -> Any:
    """Layer names as strings, in the order given, each once; a bare name is a tuple of one."""
    if isinstance(value, str | int):
        value = (value,)
    names = tuple(dict.fromkeys(str(item) for item in value))
    if not names:
        raise ValueError("name at least one layer, e.g. [last]")
    return names


LabelBudgets = Annotated[tuple[str, ...], BeforeValidator(_budgets)]
Layers = Annotated[tuple[str, ...], BeforeValidator(_names)]


class ProtocolOptions(BaseModel):
    """What every protocol is asked: which cells (budgets, draws, layers) of which methods, and how to select."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    version: ClassVar[int]
    summary: ClassVar[str]
    cell_fields: ClassVar[frozenset[str]] = frozenset({"label_budgets", "draws", "layers", "methods", "where"})

    label_budgets: LabelBudgets = Field(
        default=("1", "2", "5", "10", "50", ALL), description="labels per class, or 'all' for the whole train pool"
    )
    draws: int = Field(default=5, ge=1, description="number of draws of each budget ('all' has one)")
    draw_strategy: Literal["balanced", "uniform"] = Field(
        default="balanced",
        description="'balanced': the same number of every class; 'uniform': as in practice",
    )
    layers: Layers = Field(default=("last",), description="layers of the encoder; an integer n names the n-th")
    methods: tuple[str, ...] | None = Field(
        default=None, description="methods of the study that this entry judges; all of them when absent"
    )
    where: dict[str, Any] = Field(
        default_factory=dict, description="judge only settings with these options, e.g. {encoder: conv_nano}"
    )
    selection: Selection = Field(
        default="auto",
        description="'auto': 'fixed' below 10 labels per class, 'within_budget' from there on; "
        "'held_out': on the validation labels, which then count as labels",
    )

    def value_options(self) -> dict[str, Any]:
        """The options that change a cell's score, without those that only say which cells are asked for."""
        return self.model_dump(mode="json", exclude=set(self.cell_fields))


class HeadOptions(ProtocolOptions):
    """Logistic regression on frozen, standardised features: scikit-learn's objective and its inverse regulariser C."""

    c_default: float = Field(default=1.0, gt=0, description="C where nothing is selected; ties of a selection go to it")
    c_grid: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2),
        description="candidates of C; c_default always is one",
    )
    folds: int = Field(default=5, ge=2, description="folds of the cross-validation inside the budget")

    def candidates(self) -> tuple[float, ...]:
        """Every C the selection may choose, ascending."""
        return tuple(sorted({*self.c_grid, self.c_default}))


class LinearOptions(HeadOptions):
    """Linear probe: multinomial logistic regression on one frozen layer (Alain & Bengio, arXiv 1610.01644)."""

    name: ClassVar[str] = "linear"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "logistic regression on a frozen layer"


class KnnOptions(ProtocolOptions):
    """k-NN: majority vote of the nearest labelled images on one frozen layer (Wu et al., arXiv 1805.01978)."""

    name: ClassVar[str] = "knn"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "majority vote of the nearest labelled images on a frozen layer"

    k_default: int = Field(
        default=5,
        ge=1,
        description="neighbours where nothing is selected; never more than the labels per class, "
        "for beyond them votes for the true class run out and only wrong ones are added",
    )
    k_grid: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        default=(1, 3, 5, 10, 20), description="candidates of k; k_default always is one"
    )
    distance: Literal["euclidean", "cosine"] = Field(default="euclidean", description="distance between features")
    folds: int = Field(default=5, ge=2, description="folds of the cross-validation inside the budget")

    def candidates(self, labels_per_class: int) -> tuple[int, ...]:
        """Every k the selection may choose at this budget, ascending."""
        return tuple(sorted({min(k, max(labels_per_class, 1)) for k in (*self.k_grid, self.k_default)}))


class FusionOptions(HeadOptions):
    """Fusion: the layer joined with a partner's features under one linear head (P2, arXiv 2410.19899, stage 2).

    The same head on the partner alone is always scored too: what the layer adds is the difference.
    """

    name: ClassVar[str] = "fusion"
    version: ClassVar[int] = 1
    summary: ClassVar[str] = "logistic regression on a layer joined with a partner encoder's features"
    cell_fields: ClassVar[frozenset[str]] = ProtocolOptions.cell_fields | {"fuse"}

    fuse: tuple[Literal["concat"], ...] = Field(default=("concat",), min_length=1, description="how the two are joined")
    partner: str = Field(
        default="pixels", description="'pixels', an encoder preset at random initialisation, or 'timm/NAME' pretrained"
    )
    partner_seed: int = Field(default=0, ge=0, description="names the initialisation of a preset partner")


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


PROTOCOLS: Mapping[str, type[ProtocolOptions]] = {
    options.name: options for options in (LinearOptions, KnnOptions, FusionOptions, FinetuneOptions)
}


def cells(options: ProtocolOptions, layers: Sequence[str]) -> list[Cell]:
    """Every score these options ask of one encoder.

    Args:
        options: the protocol's options.
        layers: names of the encoder's layers, resolved from `options.layers`. Fine-tuning reads none of them: its
            layer is "last".

    Returns:
        Cells in a fixed order, each once; "all" has draw 0 only. The control rows of fusion have layer "none".
    """
    return [
        Cell(label_budget, draw, layer, fuse)
        for layer, fuse in _sources(options, layers)
        for label_budget in options.label_budgets
        for draw in range(1 if label_budget == ALL else options.draws)
    ]


def _sources(options: ProtocolOptions, layers: Sequence[str]) -> list[tuple[str, str | None]]:
    """What a head is put on: pairs of layer and fusion."""
    if isinstance(options, FinetuneOptions):
        return [("last", None)]
    if isinstance(options, FusionOptions):
        return [(layer, fuse) for fuse in options.fuse for layer in layers] + [(NO_LAYER, PARTNER_ONLY)]
    return [(layer, None) for layer in layers]
