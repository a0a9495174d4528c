"""Networks of libraries, which only torch or timm know, checked before anything is scheduled."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from bench.data.shape import ImageShape
from bench.engine.networks import Networks
from bench.errors import UserError
from bench.methods.attention import check_class_token
from bench.methods.encoder import Encoder
from bench.methods.smp_unet import check_network
from bench.protocols.pyramid import pyramid
from bench.study.encoders import SMP_PREFIX, TIMM_PREFIX, is_smp, is_timm
from bench.study.expand import Setting, judges
from bench.study.methods.partner import PartnerOptions
from bench.study.plan import Plan
from bench.study.protocols import FewShotOptions, FusionOptions, SegmentationOptions


def check_networks(plan: Plan) -> None:
    """Checks the networks of libraries, as encoders and as fusion partners, and their layers.

    Raises:
        UserError: as `bench.engine.checks.check_names`.
    """
    height, width, channels = plan.record.image_shape
    networks = Networks(ImageShape(channels, height, width))
    for item in plan.settings:
        if isinstance(item.setting.options, PartnerOptions):  # named in its entry, below
            continue
        name = item.setting.options.encoder_name
        if is_timm(name):
            _check_network(f"{item.setting.method}.encoder", name)
        if is_timm(name) or is_smp(name):
            _check_asked(plan, item.setting, networks)
    for index, entry in enumerate(plan.study.evaluate):
        if isinstance(entry, FusionOptions) and (is_timm(entry.partner) or is_smp(entry.partner)):
            _check_partner(f"evaluate.{index}.partner", entry, networks)


def _check_partner(key: str, entry: FusionOptions, networks: Networks) -> None:
    name = entry.partner
    if is_timm(name):
        _check_network(key, name)
    else:
        check_network(name.removeprefix(SMP_PREFIX), key)
    networks.outline(key, name)
    networks.check_forward(key, name, None, ["last"])
    if is_timm(name) and entry.partner_weights is None:
        _check_published(key, name)


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


def _check_asked(plan: Plan, setting: Setting, networks: Networks) -> None:
    """Checks what the study asks of a network that only its library knows: layers, tokens, maps, and the images."""
    name, patch = setting.options.encoder_name, getattr(setting.options, "patch_size", None)
    encoder = networks.outline(setting.method, name, patch)
    layers = {"last"}
    for index, entry in enumerate(plan.study.evaluate):
        if judges(entry, setting):
            layers |= _layers(f"evaluate.{index}.layers", entry.layers, encoder, setting)
            if isinstance(entry, FewShotOptions):
                check_class_token(encoder, f"evaluate.{index}.protocol", name)
            if isinstance(entry, SegmentationOptions):
                layers |= _maps(f"evaluate.{index}", entry, encoder)
    networks.check_forward(f"methods.{setting.method}.encoder", name, patch, layers)


def _layers(key: str, asked: Sequence[str], encoder: Encoder, setting: Setting) -> set[str]:
    """The layers of the network that are asked for, under its own names."""
    found = set()
    for layer in asked:
        own = f"stage{layer}" if layer.isdecimal() else layer
        if own in encoder.layers:
            found.add(own)
        elif layer not in ("last", *setting.options.own_layers):
            valid = ", ".join(["last", *encoder.layers])
            raise UserError(f"{key}: {setting.label} has no layer {layer!r}; valid: {valid}")
    return found


def _maps(key: str, entry: SegmentationOptions, encoder: Encoder) -> set[str]:
    """The layers whose maps a decoder reads."""
    try:
        return {level.layer for level in pyramid(encoder, entry.decoder)}
    except UserError as error:
        raise UserError(f"{key}.{error}") from None
