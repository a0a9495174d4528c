"""The entrant `partner`: what the controls of every fusion entry are scored on, once for each partner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.encoders import ENCODERS
from bench.study.expand import Setting, judges, layers_of
from bench.study.methods import MethodOptions, PartnerOptions
from bench.study.methods.classic import FITTED_SIDE
from bench.study.protocols import Cell, FusionOptions, ProtocolOptions, control_cells
from bench.study.protocols.fusion import PIXELS_PCA
from bench.study.spec import Study


def partner_settings(study: Study) -> list[Setting]:
    """A setting for each different partner of the fusion entries that ask for controls, in the order of the file."""
    partners = [
        entry.partner_options()
        for entry in study.evaluate
        if isinstance(entry, FusionOptions) and entry.scored_controls()
    ]
    distinct = [options for place, options in enumerate(partners) if options not in partners[:place]]
    return [Setting(PartnerOptions.name, {}, options, {}) for options in distinct]


def check_partner_files(study: Study) -> None:
    """Raises:
    UserError: a partner's weights file does not exist.
    """
    for index, entry in enumerate(study.evaluate):
        weights = entry.partner_weights if isinstance(entry, FusionOptions) else None
        if weights is not None and not Path(weights).expanduser().is_file():
            raise UserError(f"evaluate.{index}.partner_weights: there is no file {weights!r}")


def cells_of_partner(
    entry: ProtocolOptions, settings: Sequence[Setting], record: DataRecord, key: str = "evaluate"
) -> list[Cell]:
    """The control cells of a fusion entry.

    Args:
        entry: of the study; one of fusion.
        settings: of the study, the partners apart; the layers that the entry reads of them say the PCA's dimensions.
        record: of the data; no PCA has more dimensions than pixels or images.
        key: of the entry in the study, for the message.

    Raises:
        UserError: a PCA of pixels is asked for by name, but no width of a layer is known before torch is asked.
    """
    assert isinstance(entry, FusionOptions)  # nosec B101 # for mypy
    wanted = entry.pca_dimensions or _widths(entry, settings)
    if not wanted and PIXELS_PCA in (entry.controls or ()):
        raise UserError(
            f"{key}.pca_dimensions: say how many dimensions 'pixels_pca' has; the widths of the layers judged are not "
            "known before the networks are built"
        )
    return control_cells(entry, sorted({min(number, _most(record)) for number in wanted}))


def layer_width(options: MethodOptions, layer: str) -> int | None:
    """Channels of a layer of a preset; None for every other encoder."""
    size = ENCODERS.get(options.encoder_name)
    if size is None:
        return None
    if size.family == "vit":
        return size.widths[0]
    if layer == "bottleneck":
        return size.widths[-1]
    level = int("".join(filter(str.isdecimal, layer)))
    return size.widths[level - 1]


def _widths(entry: FusionOptions, settings: Sequence[Setting]) -> set[int]:
    widths = {
        layer_width(setting.options, layer)
        for setting in settings
        if judges(entry, setting)
        for layer in layers_of(entry, setting)
    }
    return {width for width in widths if width is not None}


def _most(record: DataRecord) -> int:
    """Dimensions that the train pool's pixels have, large images area-pooled as the method `pca_pixels` does."""
    height, width, channels = record.image_shape
    scale = min(1.0, FITTED_SIDE / min(height, width))
    return min(round(height * scale) * round(width * scale) * channels, record.n_train)
