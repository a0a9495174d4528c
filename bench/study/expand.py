"""From a study to its settings: one for each point of each method's scientific grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bench.errors import UserError, unknown
from bench.study.axes import Distribution
from bench.study.claims import check_claims
from bench.study.encoders import family, layer_names, resolve_layer
from bench.study.methods import METHODS, MethodOptions, PartnerOptions, resolve_precision
from bench.study.methods.partner import PIXELS
from bench.study.mistakes import describe
from bench.study.one_vector import check_one_vector
from bench.study.protocols import FusionOptions, ProtocolOptions
from bench.study.spec import Study


@dataclass(frozen=True)
class Setting:
    """One point of the scientific grid of one method; its nuisances are still open."""

    method: str
    axes: Mapping[str, Any]
    options: MethodOptions
    nuisances: Mapping[str, Distribution]

    def with_nuisances(self, values: Mapping[str, Any]) -> MethodOptions:
        """The method's options with the nuisances at these values."""
        return self.options.model_validate({**self.options.model_dump(), **values})

    def fixed_options(self) -> dict[str, Any]:
        """The options as JSON data, without the nuisances."""
        return self.options.model_dump(mode="json", exclude=set(self.nuisances))

    @property
    def label(self) -> str:
        """`mae[mask_ratio=0.5]`: how people read a setting."""
        axes = ", ".join(f"{name}={value}" for name, value in self.axes.items())
        return f"{self.method}[{axes}]" if axes else self.method


def expand(study: Study) -> list[Setting]:
    """Every setting of the study, in the order of the file.

    Raises:
        UserError: an option is unknown or out of range at some point of the grid.
    """
    return [setting for method in study.methods for setting in _settings(study, method)]


def _settings(study: Study, method: str) -> list[Setting]:
    if method not in METHODS:
        raise unknown("method", method, METHODS, "methods")
    grids = {axis.split(".", 1)[1]: grid for axis, grid in study.scientific.items() if axis.split(".", 1)[0] == method}
    nuisances = {axis.split(".", 1)[1]: d for axis, d in study.nuisance.items() if axis.split(".", 1)[0] == method}
    made = [
        _setting(study, method, dict(zip(grids, point, strict=True)), nuisances)
        for point in itertools.product(*grids.values())
    ]
    # an option may rule out another (noise none has no rate), and points of the grid come to the same
    kept = [
        setting for place, setting in enumerate(made) if setting not in made[:place] and not _left_out(study, setting)
    ]
    if not kept:
        raise UserError(f"without: leaves no setting of {method}; take the method out instead")
    return kept


def _left_out(study: Study, setting: Setting) -> bool:
    """Whether a setting has all the values of some entry of `without`."""
    for point in study.without:
        options = {axis.partition(".")[2]: values for axis, values in point.items()}
        own = all(axis.partition(".")[0] == setting.method for axis in point)
        if own and all(getattr(setting.options, option) in values for option, values in options.items()):
            return True
    return False


def _setting(study: Study, method: str, axes: dict[str, Any], nuisances: dict[str, Distribution]) -> Setting:
    options = _options(method, {**study.methods[method], **axes})
    for field, distribution in nuisances.items():  # every end of a range must be a legal value
        for value in distribution.values:
            _options(method, {**study.methods[method], **axes, field: value}, f"nuisance.{method}.{field}: ")
    options = resolve_precision(options, math.ceil(study.resources.gpus_per_worker))
    return Setting(method, {name: getattr(options, name) for name in axes}, options, nuisances)


def _options(method: str, values: Mapping[str, Any], prefix: str = "") -> MethodOptions:
    try:
        return METHODS[method].model_validate(dict(values))
    except ValidationError as error:
        raise UserError(prefix + describe(error, method)) from None


def check_study(study: Study) -> None:
    """Checks what needs the whole study: names that refer to each other, every point of every grid.

    Raises:
        UserError: names the key, the value and the valid ones.
    """
    for method in study.methods:
        if method not in METHODS:
            raise unknown("method", method, METHODS, "methods")
        if method == PartnerOptions.name:
            raise UserError(
                "methods.partner: it is added for every fusion entry, which names the network: evaluate.N.partner"
            )
    for role, axes in (("scientific", study.scientific), ("nuisance", study.nuisance)):
        for axis in axes:
            _check_axis(study, role, axis)
    for index, point in enumerate(study.without):
        _check_point(study, f"without.{index}", point)
    both = sorted(set(study.scientific) & set(study.nuisance))
    if both:
        raise UserError(f"{both[0]}: is both a scientific and a nuisance axis; it has one role")
    _check_grid(study)
    settings = expand(study)
    for index, entry in enumerate(study.evaluate):
        _check_entry(study, settings, index, entry)
    for name in study.reference:
        _check_reference(name)
    check_claims(study.claims)


def _check_grid(study: Study) -> None:
    for method in study.methods:
        axes = [axis for axis in study.nuisance if axis.split(".", 1)[0] == method]
        if study.search.sampler == "grid" and len(axes) > 1:
            raise UserError(
                f"search.sampler: 'grid' tunes one nuisance axis, but {method} has {', '.join(axes)}; "
                "valid here: tpe, random"
            )
    if study.search.pruner != "none" and study.resources.workers:
        raise UserError("search.pruner: 'asha' needs resources.workers: 0; valid here: none")
    staged = [method for method in study.methods if METHODS[method].staged]
    if staged and study.resources.workers:
        raise UserError(
            f"resources.workers: {study.resources.workers}, but {staged[0]} trains several networks one behind the "
            "other, which a worker group cannot; valid here: 0"
        )


def _check_axis(study: Study, role: str, axis: str) -> None:
    method, dot, field = axis.partition(".")
    if not dot:
        raise UserError(f"{role}.{axis}: an axis is METHOD.OPTION, such as mae.mask_ratio")
    if method not in study.methods:
        raise unknown("method", method, study.methods, f"{role}.{axis}")
    if field not in METHODS[method].model_fields:
        raise unknown("option", field, METHODS[method].model_fields, f"{role}.{axis}")


def _check_point(study: Study, key: str, point: Mapping[str, tuple[Any, ...]]) -> None:
    """Raises UserError where a point to leave out names no options, or those of several methods."""
    for axis in point:
        _check_axis(study, key, axis)
    if len({axis.partition(".")[0] for axis in point}) > 1:
        raise UserError(f"{key}: names several methods ({', '.join(point)}); a point has one")


def _check_entry(study: Study, settings: list[Setting], index: int, entry: ProtocolOptions) -> None:
    key = f"evaluate.{index}"
    for method in entry.methods or ():
        if method not in study.methods:
            raise unknown("method", method, study.methods, f"{key}.methods")
    if isinstance(entry, FusionOptions) and entry.partner != PIXELS:
        family(entry.partner, f"{key}.partner")
    judged = [setting for setting in settings if judges(entry, setting)]
    if not judged:
        labels = ", ".join(setting.label for setting in settings)
        raise UserError(f"{key}.where: {dict(entry.where)!r} fits no setting of the study; its settings: {labels}")
    for setting in judged:
        check_one_vector(entry, setting.options, key)
    for layer in entry.layers:
        if not any(_has_layer(setting, layer) for setting in judged):
            valid = dict.fromkeys(name for setting in judged for name in _names(setting) or ())
            raise UserError(f"{key}.layers: unknown layer {layer!r}; valid: {', '.join(['last', *valid])}")


def judges(entry: ProtocolOptions, setting: Setting) -> bool:
    """Whether this entry of the study evaluates this setting; a partner is judged by the fusion entries it serves."""
    if isinstance(setting.options, PartnerOptions):
        return isinstance(entry, FusionOptions) and entry.partner_options() == setting.options
    if entry.methods is not None and setting.method not in entry.methods:
        return False
    return all(getattr(setting.options, name, None) == value for name, value in entry.where.items())


def layers_of(entry: ProtocolOptions, setting: Setting) -> list[str]:
    """The layers the entry reads from this setting's encoder, under their own names, each once.

    A layer that this encoder lacks is left out: `layers: [block2, last]` over a ViT and raw pixels reads both layers of
    the one and the only layer of the other.
    """
    names = [_resolve(setting, layer) for layer in entry.layers if _has_layer(setting, layer)]
    return list(dict.fromkeys(names)) or [_resolve(setting, "last")]


def _resolve(setting: Setting, layer: str) -> str:
    return resolve_layer(setting.options, layer)


def _has_layer(setting: Setting, layer: str) -> bool:
    names = _names(setting)
    if names is None or layer == "last":
        return True
    return layer in names or (layer.isdecimal() and 1 <= int(layer) <= len(names))


def _names(setting: Setting) -> tuple[str, ...] | None:
    return layer_names(setting.options)


def _check_reference(name: str) -> None:
    from bench.study.protocols import PROTOCOLS

    method, plus, protocol = name.partition("+")
    if not plus:
        raise UserError(f"reference: {name!r} is not METHOD+PROTOCOL, such as pixels+linear")
    if method not in METHODS:
        raise unknown("method", method, METHODS, f"reference {name!r}")
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS, f"reference {name!r}")
