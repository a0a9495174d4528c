"""Names that only torch or timm know, checked before anything is scheduled."""

from __future__ import annotations

from difflib import get_close_matches

from bench.data.policies import check_bands, find_policy
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.attention import check_class_token
from bench.methods.encoder import Encoder, build_encoder
from bench.methods.smp_unet import check_network
from bench.protocols.pyramid import pyramid
from bench.study.encoders import SMP_PREFIX, TIMM_PREFIX, is_smp, is_timm, preset
from bench.study.expand import Setting, judges
from bench.study.methods.partner import PartnerOptions
from bench.study.plan import Plan
from bench.study.protocols import FewShotOptions, FinetuneOptions, FusionOptions, SegmentationOptions


def check_names(plan: Plan) -> None:
    """Checks augmentations, the networks of libraries and their layers, and fusion partners.

    Raises:
        UserError: a name that nothing answers to; the message names the key and the valid ones.
    """
    channels = plan.record.image_shape[2]
    for item in plan.settings:
        if isinstance(item.setting.options, PartnerOptions):  # named in its entry, below
            continue
        if not item.setting.options.needs_masks:  # its augmentation is of image and mask together, and has no policy
            policy = getattr(item.setting.options, "augmentation", "none")
            _check_policy(f"{item.setting.method}.augmentation", policy, channels)
        if is_timm(item.setting.options.encoder_name):
            _check_network(f"{item.setting.method}.encoder", item.setting.options.encoder_name)
            _check_layers(plan, item.setting)
            _check_tokens(plan, item.setting)
            _check_maps(plan, item.setting)
        if is_smp(item.setting.options.encoder_name):
            _check_layers(plan, item.setting)
    for index, entry in enumerate(plan.study.evaluate):
        if isinstance(entry, FinetuneOptions | FusionOptions):
            _check_policy(f"evaluate.{index}.augmentation", entry.augmentation, channels)
        if isinstance(entry, FusionOptions):
            _check_partner(f"evaluate.{index}.partner", entry.partner)
            if is_timm(entry.partner) and entry.partner_weights is None:
                _check_published(f"evaluate.{index}.partner", entry.partner)


def _check_policy(key: str, name: str, channels: int) -> None:
    try:
        find_policy(name)
        check_bands(name, channels)
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
        if layer not in ("last", *setting.options.own_layers)
    }
    if not asked and not is_smp(setting.options.encoder_name):
        return
    encoder = _built(plan, setting)
    for index, layer in sorted(asked):
        if layer not in encoder.layers and not (layer.isdecimal() and f"stage{layer}" in encoder.layers):
            valid = ", ".join(["last", *encoder.layers])
            raise UserError(f"evaluate.{index}.layers: {setting.label} has no layer {layer!r}; valid: {valid}")


def _check_tokens(plan: Plan, setting: Setting) -> None:
    """Builds the network once where few-shot episodes read its tokens."""
    for index, entry in enumerate(plan.study.evaluate):
        if isinstance(entry, FewShotOptions) and judges(entry, setting):
            check_class_token(_built(plan, setting), f"evaluate.{index}.protocol", setting.options.encoder_name)
            return


def _check_maps(plan: Plan, setting: Setting) -> None:
    """Builds the network once where decoders read its maps."""
    for index, entry in enumerate(plan.study.evaluate):
        if isinstance(entry, SegmentationOptions) and judges(entry, setting):
            try:
                pyramid(_built(plan, setting), entry.decoder)
            except UserError as error:
                raise UserError(f"evaluate.{index}.{error}") from None
            return


def _built(plan: Plan, setting: Setting) -> Encoder:
    """The setting's network, without its weights."""
    height, width, channels = plan.record.image_shape
    shape, mean, std = ImageShape(channels, height, width), [0.0] * channels, [1.0] * channels
    patch = getattr(setting.options, "patch_size", None)
    try:
        return build_encoder(setting.options.encoder_name, shape, mean, std, patch_size=patch)
    except UserError as error:
        raise UserError(f"{setting.method}.{error}") from None
