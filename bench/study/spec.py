"""The study file as frozen models: what it may say, and a clear word for what it may not."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.errors import UserError, unknown
from bench.store.datasets import GENERATED, OWN
from bench.store.secrets import refuse_secrets
from bench.study.axes import Distribution, parse_distribution
from bench.study.claims import Claim
from bench.study.protocols import ALL, PROTOCOLS, ProtocolOptions
from bench.study.protocols.class_map import ClassMapOptions


class Model(BaseModel):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class DataSpec(Model):
    """Which images, at which size, split how."""

    name: str = Field(description="data set of the catalog, or your own: folder, table, coco, shards or hub")
    root: str | None = Field(
        None, description="folder that holds the files, or your table, shards or hub name; default: the download cache"
    )
    image_size: int | None = Field(None, ge=4, le=4096, description="side in pixels; default: the set's own")
    channels: Literal[1, 3] | None = Field(None, description="1 = grey, 3 = RGB; default: the set's own")
    classes: tuple[str, ...] | None = Field(None, min_length=2, description="only images of these classes")
    chip: int | None = Field(None, ge=8, description="side of the chips that images with masks are cut into, in pixels")
    overlap: int = Field(0, ge=0, description="pixels that neighbouring chips share, at least")
    palette: str | None = Field(None, description="what mask values mean; default: palette.yaml in the root")
    test_tiles: tuple[str, ...] | None = Field(
        None, min_length=1, description="tiles to test on, where a set has tiles"
    )
    images: int | None = Field(
        None,
        ge=8,
        le=100_000,
        description="of a generated set: images to make; default: land_cover 600, shape_scenes 800",
    )
    bands: int | None = Field(None, ge=1, le=13, description="land_cover: bands of its sensor; default: 3")
    value_range: tuple[float, float] | None = Field(
        None, description="what becomes 0 and 255 in images of more than 8 bits; default: quantiles of each band"
    )
    on_error: Literal["fail", "skip"] = Field("fail", description="what an unreadable image does")
    max_train: int | None = Field(None, ge=2, description="stratified subset of the training images")
    max_test: int | None = Field(None, ge=2, description="stratified subset of the test images")
    validation: float = Field(0.15, gt=0, lt=1, description="share of the training images kept for validation")
    test: float = Field(0.2, gt=0, lt=1, description="share kept for test where the set has no official test split")
    upstream: float | None = Field(
        None, gt=0, lt=1, description="share of the train pool for pretraining alone, the rest for labels; default: all"
    )
    duplicates: Literal["exact", "near"] | None = Field(
        None,
        description="what stays on one side of a split: identical images (exact), or those too that show the same "
        "(near); default: near for your own images, exact for a data set of the catalog",
    )

    @property
    def keeps_near(self) -> bool:
        """Whether near duplicates stay on one side of a split."""
        return self.duplicates == "near" or (self.duplicates is None and self.name in OWN)

    @field_validator("classes")
    @classmethod
    def _distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            if (value or ()).count(name) > 1:
                raise ValueError(f"class {name!r} stands twice")
        return value

    @model_validator(mode="after")
    def _generated(self) -> DataSpec:
        for name in ("images", "bands"):
            if getattr(self, name) is not None and self.name not in GENERATED:
                valid = " and ".join(GENERATED)
                raise ValueError(f"{name}: only {valid} are generated; {self.name} has what its files hold")
        if self.name == "shape_scenes" and self.bands not in (None, 3):
            raise ValueError(f"bands: {self.bands}, but shape_scenes has colours; valid: 3")
        return self

    @field_validator("root")
    @classmethod
    def _expand(cls, value: str | None) -> str | None:
        refuse_secrets(value)
        return value if value is None or "://" in value else str(Path(value).expanduser())

    @field_validator("value_range")
    @classmethod
    def _rises(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"two rising numbers are needed, but got {list(value)}")
        return value


class Objective(Model):
    """What a search maximises, written `protocol.metric@labels`, on validation images."""

    protocol: Literal["linear", "knn", "segmentation"]
    metric: Literal["accuracy", "balanced_accuracy", "miou"]
    label_budget: str

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Reads e.g. `linear.balanced_accuracy@10`.

        Raises:
            ValueError: the text has another form.
        """
        match = re.fullmatch(r"(?:(linear|knn)\.(accuracy|balanced_accuracy)|(segmentation)\.(miou))@(\d+|all)", text)
        if match is None:
            raise ValueError(
                f"objective {text!r} is not understood; valid: PROTOCOL.METRIC@LABELS with PROTOCOL linear or knn, "
                "METRIC accuracy or balanced_accuracy, LABELS per class or all, e.g. linear.balanced_accuracy@10; or "
                "segmentation.miou@IMAGES"
            )
        return cls(protocol=match[1] or match[3], metric=match[2] or match[4], label_budget=match[5])


class SearchSpec(Model):
    """How nuisances are tuned, within each scientific setting, with the same number of trials for every setting."""

    trials: int = Field(1, ge=1, le=10_000, description="trials of each setting")
    sampler: Literal["grid", "tpe", "random"] = Field("grid", description="grid needs a single nuisance axis")
    objective: str = Field("linear.balanced_accuracy@10", description="maximised on validation images")
    pruner: Literal["none", "asha"] = Field("none", description="asha: successive halving within the setting")
    seed: int = Field(0, ge=0, description="names the search seed, which is never a reported one")

    @field_validator("objective")
    @classmethod
    def _parses(cls, value: str) -> str:
        Objective.parse(value)
        return value

    @property
    def parsed_objective(self) -> Objective:
        return Objective.parse(self.objective)


class Resources(Model):
    """What one pretraining is given. The number of workers changes no key: results agree within float tolerance."""

    workers: int = Field(0, ge=0, description="0: in the trial's own process; N: a Ray Train worker group of N")
    cpus_per_worker: int = Field(1, ge=1, description="cores, and threads, of each worker")
    gpus_per_worker: float = Field(0, ge=0, description="GPUs of each worker; fractions share one")
    features_gb: float = Field(20, ge=0, description="disk that features may keep, in GB; least recently used go first")

    @model_validator(mode="after")
    def _whole_gpus_in_groups(self) -> Resources:
        if self.workers > 1 and self.gpus_per_worker != int(self.gpus_per_worker):
            raise ValueError(f"gpus_per_worker {self.gpus_per_worker} must be whole when workers is {self.workers}")
        return self


class Study(Model):
    """One question asked of the platform."""

    study: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    data: DataSpec
    methods: Mapping[str, Mapping[str, Any]]
    scientific: Mapping[str, tuple[Any, ...]] = {}
    without: tuple[Mapping[str, tuple[Any, ...]], ...] = Field(
        (), description="points of the scientific grids to leave out: those with all of an entry's values"
    )
    nuisance: Mapping[str, Distribution] = {}
    search: SearchSpec = SearchSpec()
    evaluate: tuple[ProtocolOptions, ...]
    seeds: int = Field(3, ge=1, le=1000, description="reported seeds of every pretraining that has one")
    reference: tuple[str, ...] = ("pixels+linear", "random_init+linear", "random_init+finetune")
    claims: tuple[Claim, ...] = ()
    resources: Resources = Resources()

    _no_secrets = model_validator(mode="before")(refuse_secrets)

    @field_validator("methods", mode="before")
    @classmethod
    def _empty_options(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            if not value:
                raise ValueError("name at least one method")
            return {name: options or {} for name, options in value.items()}
        return value

    @field_validator("scientific", mode="before")
    @classmethod
    def _grids(cls, value: Any) -> Any:
        _check_axes(value)
        for axis, grid in (value or {}).items():
            if not isinstance(grid, list | tuple) or not grid:
                raise ValueError(f"{axis}: a scientific axis is a non-empty list of values, but got {grid!r}")
            if len({repr(item) for item in grid}) < len(grid):
                raise ValueError(f"{axis}: a value stands twice in {grid!r}")
        return value or {}

    @field_validator("without", mode="before")
    @classmethod
    def _points(cls, value: Any) -> Any:
        if not isinstance(value or [], list | tuple) or not all(
            isinstance(point, Mapping) and point for point in value or ()
        ):
            raise ValueError(f"a list of {{METHOD.OPTION: VALUE or [VALUES], ...}} is needed, but got {value!r}")
        return tuple(
            {axis: tuple(named) if isinstance(named, list | tuple) else (named,) for axis, named in point.items()}
            for point in value or ()
        )

    @field_validator("nuisance", mode="before")
    @classmethod
    def _distributions(cls, value: Any) -> Any:
        _check_axes(value)
        return {axis: parse_distribution(axis, item) for axis, item in (value or {}).items()}

    @field_validator("evaluate", mode="before")
    @classmethod
    def _protocols(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError(f"a non-empty list of {{protocol: ..., ...}} is needed, but got {value!r}")
        return tuple(entry for index, item in enumerate(value) for entry in _entries(index, item))

    @model_validator(mode="after")
    def _one_class_set(self) -> Study:
        """Scores over different classes are not on one scale: no leaderboard, reference or claim could hold both."""
        dense = [(index, entry) for index, entry in enumerate(self.evaluate) if isinstance(entry, ClassMapOptions)]
        for index, entry in dense[1:]:
            if entry.class_map != dense[0][1].class_map:
                raise ValueError(
                    f"evaluate.{index}.class_map: differs from that of evaluate.{dense[0][0]}, and scores over other "
                    "classes cannot be compared; make it a study of its own: with the same results folder it finds the "
                    "pretrainings of this one"
                )
        return self

    def as_json(self) -> dict[str, Any]:
        """The resolved study as JSON data; reading it again gives the same study."""
        value = self.model_dump(mode="json", exclude={"evaluate", "nuisance"})
        if self.data.name in OWN or self.data.keeps_near:
            value["data"]["duplicates"] = "near" if self.data.keeps_near else "exact"
        else:  # the key of such a study is what it was before there was a choice
            del value["data"]["duplicates"]
        value["evaluate"] = [{"protocol": entry.name, **entry.model_dump(mode="json")} for entry in self.evaluate]
        value["nuisance"] = {axis: distribution.as_json() for axis, distribution in self.nuisance.items()}
        return value


def _check_axes(value: Any) -> None:
    if not isinstance(value or {}, Mapping):
        raise ValueError(f"{{METHOD.OPTION: ..., ...}} is needed, but got {value!r}")


def _entries(index: int, item: Any) -> list[ProtocolOptions]:
    """What an item stands for: one entry, or one for each value of the options that it may and does give as lists."""
    named = str(item.get("protocol")) if isinstance(item, Mapping) else ""
    listed = PROTOCOLS[named].listed if named in PROTOCOLS else ()
    lists = {name: tuple(dict.fromkeys(item[name])) for name in listed if isinstance(item.get(name), list | tuple)}
    for name, values in lists.items():
        if not values:
            raise ValueError(f"evaluate.{index}.{name}: name at least one value, or leave it out")
    points = itertools.product(*lists.values())
    return [_protocol(index, {**item, **dict(zip(lists, point, strict=True))} if lists else item) for point in points]


def _protocol(index: int, item: Any) -> ProtocolOptions:
    if isinstance(item, ProtocolOptions):
        return item
    if not isinstance(item, Mapping) or "protocol" not in item:
        raise ValueError(f"evaluate.{index}: {{protocol: NAME, ...}} is needed, but got {item!r}")
    name = item["protocol"]
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise UserError(str(unknown("protocol", name, PROTOCOLS, f"evaluate.{index}.protocol")))
    return PROTOCOLS[name].model_validate({key: value for key, value in item.items() if key != "protocol"})


def largest_budget(options: ProtocolOptions) -> int:
    """The largest number of labels per class (or images, of a dense protocol) named; 0 when that is only 'all'."""
    return max((int(budget) for budget in options.label_budgets if budget != ALL), default=0)
