"""Whether a study's label budgets can be bought, and its masks learned, from a train pool."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.expand import Setting, judges
from bench.study.methods import METHODS
from bench.study.protocols import PROTOCOLS, AsIsOptions, ClassMapOptions, SegmentationOptions
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
    UserError: a class map does not fit the classes, a decoder is asked for on features that are no maps, or a
        network is to segment as it is that never learned to.
    """
    for index, entry in enumerate(study.evaluate):
        judged = [setting for setting in settings if judges(entry, setting)]
        if isinstance(entry, ClassMapOptions):
            try:
                entry.targets(record.class_names)
            except UserError as error:
                raise UserError(f"evaluate.{index}.{error}") from None
        if isinstance(entry, SegmentationOptions):
            _check_maps(f"evaluate.{index}", judged, entry.frozen_blocks)
        if isinstance(entry, AsIsOptions):
            _check_decoders(f"evaluate.{index}.methods", judged)
    if study.search.parsed_objective.protocol == SegmentationOptions.name:
        _check_maps("search.objective", [setting for setting in settings if setting.nuisances])


def _check_maps(key: str, settings: Sequence[Setting], frozen_blocks: int | None = None) -> None:
    for setting in settings:
        try:
            check_encoder(setting.options.encoder_name, frozen_blocks)
        except UserError as error:
            raise UserError(f"{key}: {error}") from None


def _check_decoders(key: str, settings: Sequence[Setting]) -> None:
    wrong = next((setting.method for setting in settings if not setting.options.needs_masks), None)
    if wrong is not None:
        valid = ", ".join(name for name, options in METHODS.items() if options.needs_masks)
        raise UserError(f"{key}: as_is scores a network that learned to segment, and {wrong} did not; valid: {valid}")


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
