"""Names that a study file may get wrong without a word from its reader, checked before anything is scheduled."""

from __future__ import annotations

from bench.data.policies import check_bands, find_policy
from bench.errors import UserError
from bench.study.encoders import is_smp, is_timm, preset
from bench.study.methods.partner import PartnerOptions
from bench.study.plan import Plan
from bench.study.protocols import FinetuneOptions, FusionOptions


def check_names(plan: Plan) -> None:
    """Checks augmentations, the networks of libraries and their layers, and fusion partners.

    PyTorch and timm are loaded only where a network of a library is named.

    Raises:
        UserError: a name that nothing answers to, or a network that cannot take the images or give what is asked of
            it; the message names the key and the valid ones.
    """
    channels = plan.record.image_shape[2]
    named = []
    for item in plan.settings:
        if isinstance(item.setting.options, PartnerOptions):  # named in its entry, below
            continue
        if not item.setting.options.needs_masks:  # its augmentation is of image and mask together, and has no policy
            policy = getattr(item.setting.options, "augmentation", "none")
            _check_policy(f"{item.setting.method}.augmentation", policy, channels)
        named.append(item.setting.options.encoder_name)
    for index, entry in enumerate(plan.study.evaluate):
        if isinstance(entry, FinetuneOptions | FusionOptions):
            _check_policy(f"evaluate.{index}.augmentation", entry.augmentation, channels)
        if isinstance(entry, FusionOptions):
            if not (is_timm(entry.partner) or is_smp(entry.partner) or entry.partner == "pixels"):
                preset(entry.partner, f"evaluate.{index}.partner")
            named.append(entry.partner)
    if any(is_timm(name) or is_smp(name) for name in named):
        from bench.engine.network_checks import check_networks

        check_networks(plan)


def _check_policy(key: str, name: str, channels: int) -> None:
    try:
        find_policy(name)
        check_bands(name, channels)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
