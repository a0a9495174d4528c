"""Names that only torch or timm know, checked before anything is scheduled."""

from __future__ import annotations

from difflib import get_close_matches

from bench.data.policies import find_policy
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.encoder import build_encoder
from bench.methods.smp_unet import check_network
from bench.study.encoders import SMP_PREFIX, TIMM_PREFIX, is_smp, is_timm, preset
from bench.study.expand import Setting, judges
from bench.study.methods.partner import PartnerOptions
from bench.study.plan import Plan
from bench.study.protocols import FinetuneOptions, FusionOptions


def check_names(plan: Plan) -> None:
    """Checks augmentations, the networks of libraries and their layers, and fusion partners.

    Raises:
        UserError: a name that nothing answers to; the message names the key and the valid ones.
    """
    for item in plan.settings:
        if isinstance(item.setting.options, PartnerOptions):  # named in its entry, below
            continue
        _check_policy(f"{item.setting.method}.augmentation", getattr(item.setting.options, "augmentation", "none"))
        if is_timm(item.setting.options.encoder_name):
            _check_network(f"{item.setting.method}.encoder", item.setting.options.encoder_name)
            _check_layers(plan, item.setting)
        if is_smp(item.setting.options.encoder_name):
            _check_layers(plan, item.setting)
    for index, entry in enumerate(plan.study.evaluate):
        if isinstance(entry, FinetuneOptions | FusionOptions):
            _check_policy(f"evaluate.{index}.augmentation", entry.augmentation)
        if isinstance(entry, FusionOptions):
            _check_partner(f"evaluate.{index}.partner", entry.partner)
            if is_timm(entry.partner) and entry.partner_weights is None:
                _check_published(f"evaluate.{index}.partner", entry.partner)


def _check_policy(key: str, name: str) -> None:
    try:
        find_policy(name)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _check_partner(key: str, name: str) -> None:
    if is_timm(name):
        _check_network(key, name)
    elif is_smp(name):
        check_network(name.removeprefix(SMP_PREFIX), key)
    elif name != "pixels":
        preset(name, key)


def _check_network(key: str, name: str) -> None:
    import timm

    network = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model(network.split(".")[0]):
        near = get_close_matches(network, timm.list_models(), n=3)
        hint = f"; near: {', '.join(TIMM_PREFIX + name for name in near)}" if near else ""
        raise UserError(f"{key}: timm has no network {network!r}{hint}")


def _check_published(key: str, name: str) -> None:
    import timm

    network = name.removeprefix(TIMM_PREFIX)
    if not timm.is_model_pretrained(network):
        near = timm.list_pretrained(f"*{network}*")[:4]
        hint = f"; with weights: {', '.join(TIMM_PREFIX + name for name in near)}" if near else ""
        raise UserError(f"{key}: timm publishes no weights for {network!r}; give a file, {key}_weights{hint}")


def _check_layers(plan: Plan, setting: Setting) -> None:
    """Builds the network once, without weights, where layers other than the last are asked of it.

    A U-Net is built in any case: around which networks the library can build one, only the library knows.
    """
    asked = {
        (index, layer)
        for index, entry in enumerate(plan.study.evaluate)
        if judges(entry, setting)
        for layer in entry.layers
        if layer != "last"
    }
    name, options = setting.options.encoder_name, setting.options
    if not asked and not is_smp(name):
        return
    height, width, channels = plan.record.image_shape
    shape, mean, std = ImageShape(channels, height, width), [0.0] * channels, [1.0] * channels
    try:
        encoder = build_encoder(name, shape, mean, std, patch_size=getattr(options, "patch_size", None))
    except UserError as error:
        raise UserError(f"{setting.method}.{error}") from None
    for index, layer in sorted(asked):
        if layer not in encoder.layers and not (layer.isdecimal() and f"stage{layer}" in encoder.layers):
            valid = ", ".join(["last", *encoder.layers])
            raise UserError(f"evaluate.{index}.layers: {setting.label} has no layer {layer!r}; valid: {valid}")
