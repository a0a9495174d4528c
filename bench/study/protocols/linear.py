"""Options of the linear probe."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from bench.study.protocols.imbalance import check_on_features
from bench.study.protocols.options import HeadOptions

Solver = Literal["logistic", "lars"]

_READ_BY: dict[Solver, tuple[str, ...]] = {
    "logistic": ("c_default", "c_grid"),
    "lars": ("lr", "lr_grid", "lr_images", "batch_size", "epochs", "steps", "warmup"),
}


class LinearOptions(HeadOptions):
    """Linear probe: a linear classifier on one frozen layer (Alain & Bengio, arXiv 1610.01644).

    Solver "logistic" is penalised multinomial logistic regression, fitted to convergence. Solver "lars" is the recipe
    of MAE (arXiv 2111.06377, table 10, the defaults): batch normalisation without affine parameters and a linear
    layer, trained by LARS for 90 epochs. Unlike there, the features are those of the images as they are, encoded once
    (no random crops and flips), and the mean over the layer's map rather than the class token.
    """

    name: ClassVar[str] = "linear"
    version: ClassVar[int] = 4
    summary: ClassVar[str] = "linear classifier on a frozen layer"

    solver: Solver = Field(
        default="logistic",
        description="'logistic': C is selected among c_default and c_grid; 'lars': MAE's recipe, the learning rate is "
        "selected among lr and lr_grid; each reads its own options only",
    )
    lr: float = Field(default=0.1, gt=0, description="LARS: peak learning rate per lr_images images of a batch")
    lr_grid: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, description="LARS: candidates of the learning rate; only lr when absent"
    )
    lr_images: int | None = Field(
        default=256, ge=1, description="LARS: lr is multiplied by batch_size / lr_images; null: lr as it stands"
    )
    batch_size: int = Field(
        default=16384, ge=2, description="LARS: features per step; never more than the budget holds"
    )
    epochs: int = Field(default=90, ge=0, description="LARS: passes over the budget, at least")
    steps: int = Field(default=1, ge=1, description="LARS: steps of the optimiser, at least")
    warmup: float = Field(
        default=1 / 9, ge=0, lt=1, description="LARS: share of the steps while the learning rate rises"
    )

    def rates(self) -> tuple[float, ...]:
        """Every learning rate the selection may choose, ascending; in the units of lr."""
        return tuple(sorted({*(self.lr_grid or ()), self.lr}))

    def peak(self, lr: float) -> float:
        """The peak learning rate of the optimiser; that of a full batch, also where the budget does not fill one."""
        return lr if self.lr_images is None else lr * self.batch_size / self.lr_images

    def check_remedy(self) -> None:
        """Raises UserError where the solver cannot take the remedy."""
        if self.solver == "logistic":
            super().check_remedy()
        else:
            check_on_features(self.imbalance, "a head trained on kept features")

    @model_validator(mode="after")
    def _options_of_the_solver(self) -> LinearOptions:
        for solver, names in _READ_BY.items():
            for name in names:
                default = LinearOptions.model_fields[name].default
                if solver != self.solver and getattr(self, name) != default:
                    raise ValueError(f"{name}: {getattr(self, name)!r} is read by the solver {solver!r} only")
        return self
