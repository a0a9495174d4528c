"""Whether a study's label budgets can be bought, and its masks learned, from a train pool."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.expand import Setting, judges
from bench.study.protocols import PROTOCOLS, SegmentationOptions
from bench.study.protocols.segmentation import check_encoder
from bench.study.spec import Study, largest_budget


def check_budgets(study: Study, record: DataRecord) -> None:
    """Raises:
    UserError: a budget cannot be bought from this train pool, or masks are to be learned and there are none.
    """
    for index, entry in enumerate(study.evaluate):
        key = f"evaluate.{index}"
        if entry.dense:
            _check_images(f"{key}.label_budgets", f"{key}.protocol: {entry.name}", largest_budget(entry), record)
        elif entry.draw_strategy == "balanced":
            _check_labels(f"{key}.label_budgets", largest_budget(entry), record)
    objective = study.search.parsed_objective
    if study.nuisance:
        asked = 0 if objective.label_budget == "all" else int(objective.label_budget)
        if PROTOCOLS[objective.protocol].dense:
            _check_images("search.objective", f"search.objective: {objective.protocol}", asked, record)
        else:
            _check_labels("search.objective", asked, record)


def check_segmentation(study: Study, settings: Sequence[Setting], record: DataRecord) -> None:
    """Raises:
    UserError: a class map does not fit the classes, or a decoder is asked for on features that are no maps.
    """
    for index, entry in enumerate(study.evaluate):
        if isinstance(entry, SegmentationOptions):
            try:
                entry.targets(record.class_names)
            except UserError as error:
                raise UserError(f"evaluate.{index}.{error}") from None
            _check_maps(f"evaluate.{index}", [setting for setting in settings if judges(entry, setting)])
    if study.search.parsed_objective.protocol == SegmentationOptions.name:
        _check_maps("search.objective", [setting for setting in settings if setting.nuisances])


def _check_maps(key: str, settings: Sequence[Setting]) -> None:
    for setting in settings:
        try:
            check_encoder(setting.options.encoder_name)
        except UserError as error:
            raise UserError(f"{key}: {error}") from None


def _check_images(key: str, what: str, largest: int, record: DataRecord) -> None:
    if not record.masked:
        raise UserError(f"{what} learns from masks, and {record.name} has none; valid: protocols of image labels")
    if largest > record.n_train:
        raise UserError(
            f"{key}: {largest} labelled images, but the train pool of {record.name} has {record.n_train}; "
            f"valid: 1 to {record.n_train}, or all"
        )


def _check_labels(key: str, largest: int, record: DataRecord) -> None:
    count, name = min(zip(record.pool_counts, record.class_names, strict=True))
    if largest <= count:
        return
    if record.masked:
        raise UserError(
            f"{key}: {largest} labels per class, but class {name!r} is the largest part of only {count} images in the "
            f"train pool of {record.name}, whose classes are those of pixels; valid: protocol segmentation, or all"
        )
    raise UserError(
        f"{key}: {largest} labels per class, but class {name!r} has {count} images in the train pool of "
        f"{record.name}; valid: 1 to {count}, or all"
    )
