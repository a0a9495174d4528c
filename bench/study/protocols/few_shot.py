"""Options of few-shot classification and segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from bench.errors import UserError, unknown
from bench.study.protocols.options import ALL, LabelBudgets, ProtocolOptions
from bench.study.shape_classes import GROUND, SHAPE_FOLDS

MEAN: Literal["mean"] = "mean"  # the fold that stands for all of them
UNUSED = GROUND  # a class of this name is never one of an episode's
FOLDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "cmp_facade": (("door", "sill", "balcony"), ("cornice", "blind", "deco"), ("molding", "pillar", "shop")),
    "shape_scenes": SHAPE_FOLDS,
    "voc": (  # PASCAL-5i
        ("aeroplane", "bicycle", "bird", "boat", "bottle"),
        ("bus", "car", "cat", "chair", "cow"),
        ("diningtable", "dog", "horse", "motorbike", "person"),
        ("pottedplant", "sheep", "sofa", "train", "tvmonitor"),
    ),
}
Share = Annotated[float, Field(gt=0, lt=1)]


class Fold(NamedTuple):
    """A split of the classes: numbers of the novel ones, which episodes test, and of the base ones."""

    novel: tuple[int, ...]
    base: tuple[int, ...]


class FewShotOptions(ProtocolOptions):
    """Few-shot classification and segmentation: N classes, K images of each, is each in the query and where?

    The classification-segmentation transformer (CST, arXiv 2307.03407) over the frozen tokens of a ViT, trained on
    1-way 1-shot episodes of the base classes and tested on episodes of the novel ones. The label budget is K, the draw
    numbers the training: the stream of its episodes and its validation classes. Lists of fold, ways, supervision,
    mask_share and ignore stand for one entry each: `{protocol: few_shot, supervision: mixed, mask_share: [.02, .1]}`.
    """

    name: ClassVar[str] = "few_shot"
    version: ClassVar[int] = 2
    summary: ClassVar[str] = "episodes of novel classes: which are present, and where (CST on frozen tokens)"
    dense: ClassVar[bool] = True
    budget_unit: ClassVar[tuple[str, str]] = ("shot", "shots")
    reads_features: ClassVar[bool] = False
    listed: ClassVar[tuple[str, ...]] = ("fold", "ways", "supervision", "mask_share", "ignore")
    cell_fields: ClassVar[frozenset[str]] = ProtocolOptions.cell_fields | {"cache_gb"}

    label_budgets: LabelBudgets = Field(default=("1", "5"), description="shots K: support images of each class")
    draws: int = Field(default=1, ge=1, description="number of trainings, each on a stream of episodes of its own")
    folds: tuple[tuple[str, ...], ...] = Field(
        default=(), description="novel classes of each fold; absent: those known for cmp_facade, shape_scenes and voc"
    )
    fold: Annotated[int, Field(ge=0)] | Literal["mean"] = Field(
        default=MEAN, description="number of the fold that is tested, or 'mean' over all of them"
    )
    ways: int = Field(default=1, ge=1, description="classes of a test episode; 0 to all of them are in its query")
    supervision: Literal["image", "pixel", "mixed"] = Field(
        default="pixel",
        description="image: pseudo masks; pixel: true masks; mixed: true masks of some base images, the others' from "
        "an enhancer that learns from those",
    )
    mask_share: float | None = Field(
        default=None, ge=0, le=1, description="share of base images with a mask under mixed; image is 0, pixel 1"
    )
    ignore: Literal["excluded", "as_published"] = Field(
        default="excluded", description="pixels without a class: counted nowhere, or as background (as published)"
    )
    pseudo_similarity: Literal["cosine", "softmax"] = Field(
        default="cosine", description="of the class token's query to keys: (1 + cosine) / 2 (as published) or attention"
    )
    pseudo_layers: Literal["last", "all"] = Field(default="last", description="blocks the similarity is averaged over")
    pseudo_query: Literal["support", "own"] = Field(
        default="support", description="whose class token marks the query: the support's (as published) or its own"
    )
    pseudo_threshold: Share | Literal["otsu"] = Field(
        default=0.4, description="of the similarity in [0, 1] (published 0.4), or Otsu's of each image"
    )
    pseudo_smoothing: int = Field(default=1, ge=1, le=15, description="side of a median filter in pixels, odd; 1: none")
    support_grid: int = Field(default=12, ge=2, description="most tokens along a side of a support image")
    steps: int = Field(default=400, ge=1, description="training steps (published: until 2000 epochs, best kept)")
    batch_size: int = Field(default=12, ge=1, description="episodes per step")
    lr: float = Field(default=1e-3, gt=0, description="Adam's learning rate")
    classification_weight: float = Field(default=0.1, ge=0, description="of the presence loss beside the mask loss")
    enhancer_steps: int = Field(default=200, ge=1, description="training steps of the enhancer")
    validation_classes: int = Field(default=2, ge=1, description="base classes kept from training to choose on")
    validation_every: int = Field(default=100, ge=1, description="steps between checkpoints")
    validation_episodes: int = Field(default=100, ge=1, description="episodes a checkpoint is judged on")
    thresholds: Literal["fixed", "selected"] = Field(
        default="selected", description="of presence and mask: 0.5 (as published), or chosen on validation classes"
    )
    test_episodes: int = Field(default=1000, ge=1, description="test episodes of each fold")
    cache_gb: float = Field(default=2.0, ge=0, description="memory for tokens of images; the rest is computed anew")

    def class_folds(self, dataset: str, class_names: Sequence[str]) -> list[Fold]:
        """The folds that are asked for, all of them for 'mean'.

        Args:
            dataset: name in the catalog.
            class_names: classes of the pixels.

        Raises:
            UserError: no folds are known, a class is not there or stands twice, or more ways than a fold has classes.
        """
        folds = self.folds or FOLDS.get(dataset, ())
        if not folds:
            raise UserError(f"folds: none known for {dataset!r}; name the novel classes of each fold: [[a, b], [c, d]]")
        if isinstance(self.fold, int) and self.fold >= len(folds):
            raise UserError(f"fold: {self.fold}, but there are {len(folds)}; valid: 0 to {len(folds) - 1}, or {MEAN}")
        valid = [name for name in class_names if name != UNUSED]
        for name in (name for fold in folds for name in fold):
            if name not in valid:
                raise unknown("class", name, valid, "folds")
        return [self._fold(folds[number], class_names) for number in self.fold_numbers(dataset)]

    def fold_numbers(self, dataset: str) -> list[int]:
        """Numbers of the folds that are asked for."""
        return list(range(len(self.folds or FOLDS[dataset]))) if self.fold == MEAN else [int(self.fold)]

    def _fold(self, novel: Sequence[str], class_names: Sequence[str]) -> Fold:
        if self.ways > len(novel):
            raise UserError(
                f"ways: {self.ways} is more than the {len(novel)} novel classes of the fold {', '.join(novel)}; "
                f"valid: 1 to {len(novel)}"
            )
        base = [name for name in class_names if name not in novel and name != UNUSED]
        if len(base) < self.validation_classes + 2:
            raise UserError(
                f"validation_classes: {self.validation_classes} of the {len(base)} base classes of the fold "
                f"{', '.join(novel)} leave fewer than 2 to train on; valid: up to {len(base) - 2}"
            )
        return Fold(tuple(map(class_names.index, novel)), tuple(map(class_names.index, base)))

    @field_validator("label_budgets")
    @classmethod
    def _shots(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if ALL in value:
            raise ValueError("label_budgets: few_shot counts shots, so 'all' is none; valid: 1, 2, ...")
        return value

    @field_validator("folds")
    @classmethod
    def _distinct(cls, value: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        for fold in value:
            if not fold or len(set(fold)) < len(fold):
                raise ValueError(f"folds: {list(fold)} is empty or names a class twice")
        return value

    @model_validator(mode="before")
    @classmethod
    def _share(cls, values: object) -> object:
        """Supervision by images or pixels has no share to choose: one spelling for each question."""
        if not isinstance(values, Mapping):
            return values
        shares = {"image": 0.0, "pixel": 1.0, "mixed": values.get("mask_share")}
        share = shares.get(str(values.get("supervision", "pixel")))
        return {**values, "mask_share": 0.1 if share is None else share}

    @model_validator(mode="after")
    def _fits(self) -> FewShotOptions:
        if self.layers != ("last",):
            raise ValueError(f"few_shot reads the tokens of every block: leave layers out, not {list(self.layers)}")
        if self.selection != "auto" or self.draw_strategy != "balanced":
            raise ValueError("few_shot chooses on validation classes: leave selection and draw_strategy out")
        if self.pseudo_smoothing % 2 == 0:
            raise ValueError(f"pseudo_smoothing: {self.pseudo_smoothing} is even; valid: 1, 3, 5, ...")
        if self.supervision == "mixed" and self.mask_share == 0:
            raise ValueError("mask_share: 0 under mixed leaves the enhancer nothing to learn; valid: above 0")
        return self
