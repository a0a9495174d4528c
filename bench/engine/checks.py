"""Names that only torch or timm know, checked before anything is scheduled."""

from __future__ import annotations

from difflib import get_close_matches

from bench.data.policies import find_policy
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.timm_encoder import TimmEncoder
from bench.study.encoders import TIMM_PREFIX, is_timm, preset
from bench.study.expand import Setting, judges
from bench.study.plan import Plan
from bench.study.protocols import FinetuneOptions, FusionOptions


def check_names(plan: Plan) -> None:
    """Checks augmentations, timm networks and their layers, and fusion partners.

    Raises:
        UserError: a name that nothing answers to; the message names the key and the valid ones.
    """
    for item in plan.settings:
        _check_policy(f"{item.setting.method}.augmentation", getattr(item.setting.options, "augmentation", "none"))
        if is_timm(item.setting.options.encoder_name):
            _check_network(f"{item.setting.method}.encoder", item.setting.options.encoder_name)
            _check_layers(plan, item.setting)
    for index, entry in enumerate(plan.study.evaluate):
        if isinstance(entry, FinetuneOptions):
            _check_policy(f"evaluate.{index}.augmentation", entry.augmentation)
        if isinstance(entry, FusionOptions):
            _check_partner(f"evaluate.{index}.partner", entry.partner)


def _check_policy(key: str, name: str) -> None:
    try:
        find_policy(name)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _check_partner(key: str, name: str) -> None:
    if is_timm(name):
        _check_network(key, name)
    elif name != "pixels":
        preset(name, key)


def _check_network(key: str, name: str) -> None:
    import timm

    network = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(network.split(".")[0]):
        near = get_close_matches(network, timm.list_models(), n=3)
        hint = f"; near: {', '.join(TIMM_PREFIX + name for name in near)}" if near else ""
        raise UserError(f"{key}: timm has no network {network!r}{hint}")


def _check_layers(plan: Plan, setting: Setting) -> None:
    """Builds the network once, without weights, where layers other than the last are asked of it."""
    asked = {
        (index, layer)
        for index, entry in enumerate(plan.study.evaluate)
        if judges(entry, setting)
        for layer in entry.layers
        if layer != "last"
    }
    if not asked:
        return
    height, width, channels = plan.record.image_shape
    encoder = TimmEncoder(
        ImageShape(channels, height, width),
        [0.0] * channels,
        [1.0] * channels,
        name=setting.options.encoder_name.removeprefix(TIMM_PREFIX),
        patch_size=getattr(setting.options, "patch_size", None),
    )
    for index, layer in sorted(asked):
        if layer not in encoder.layers and not (layer.isdecimal() and f"stage{layer}" in encoder.layers):
            valid = ", ".join(["last", *encoder.layers])
            raise UserError(f"evaluate.{index}.layers: {setting.label} has no layer {layer!r}; valid: {valid}")
