"""What every protocol may be asked: which cells, of which methods, and how to select."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bench.study.protocols.imbalance import REMEDY, Remedy, check_convex

ALL = "all"  # the label budget that holds the whole train pool; it has the one draw 0
NO_LAYER = "none"  # the layer of a cell that reads no layer of the encoder (the partner alone)
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
    if not isinstance(value, list | tuple):
        raise ValueError(f"a list of label budgets is needed, e.g. [1, 10, all], but got {value!r}")
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
    implementation: ClassVar[str] = ""  # of a plug-in: "package.module:function", from an Evaluation to its Scores
    dense: ClassVar[bool] = False  # whether it learns from masks
    budget_unit: ClassVar[tuple[str, str]] = ("label a class", "labels a class")  # what budgets count: one, more
    reads_features: ClassVar[bool] = True  # whether it reads kept features, of the layers that are named
    listed: ClassVar[tuple[str, ...]] = ("draw_strategy",)  # options that may be a list: one entry for each value
    cell_fields: ClassVar[frozenset[str]] = frozenset({"label_budgets", "draws", "layers", "methods", "where"})

    label_budgets: LabelBudgets = Field(
        default=("1", "2", "5", "10", "50", ALL),
        description="labels per class (labelled images where masks are learned), or 'all' for the whole train pool",
    )
    draws: int = Field(default=5, ge=1, description="number of draws of each budget ('all' has one)")
    draw_strategy: Literal["balanced", "uniform", "coverage"] = Field(
        default="balanced",
        description="'balanced': the same number of every class; 'uniform': as in practice; 'coverage': chosen without "
        "labels so that every image has one close by, in pixels, which all entrants share",
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

    listed: ClassVar[tuple[str, ...]] = ("draw_strategy", "imbalance")

    c_default: float = Field(default=1.0, gt=0, description="C where nothing is selected; ties of a selection go to it")
    c_grid: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2),
        description="candidates of C; c_default always is one",
    )
    folds: int = Field(default=5, ge=2, description="folds of the cross-validation inside the budget")
    imbalance: Remedy = Field(default="none", description=REMEDY)

    def candidates(self) -> tuple[float, ...]:
        """Every C the selection may choose, ascending."""
        return tuple(sorted({*self.c_grid, self.c_default}))

    def check_remedy(self) -> None:
        """Raises ValueError where the head cannot take the remedy."""
        check_convex(self.imbalance, f"the exact head of {self.name}")

    @model_validator(mode="after")
    def _remedy_fits(self) -> Self:
        self.check_remedy()
        return self
