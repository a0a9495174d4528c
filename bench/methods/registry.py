"""The methods by name, and how one is built."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bench.data.shape import ImageShape
from bench.errors import UserError, unknown
from bench.methods.base import Method
from bench.methods.dino import Dino
from bench.methods.fusion_partner import Partner
from bench.methods.hog import Hog
from bench.methods.kmeans_patches import KmeansPatches
from bench.methods.mae import Mae
from bench.methods.noisy_labels import NoisyLabels
from bench.methods.pca_pixels import PcaPixels
from bench.methods.pixels import Pixels
from bench.methods.published import Published
from bench.methods.random_init import RandomInit
from bench.methods.self_masking import SelfMasking
from bench.methods.self_masking_cascade import SelfMaskingCascade
from bench.methods.simclr import Simclr
from bench.methods.swav import Swav
from bench.methods.unet_denoise import UnetDenoise
from bench.methods.unet_masked import UnetMasked
from bench.methods.unet_mixed import UnetMixed
from bench.study.methods import METHODS as OPTIONS
from bench.study.methods import MethodOptions
from bench.study.plugins import METHOD_GROUP, Registry, load_reference

_BUILT_IN: dict[str, type[Method]] = {
    "mae": Mae,
    "unet_masked": UnetMasked,
    "unet_denoise": UnetDenoise,
    "unet_mixed": UnetMixed,
    "simclr": Simclr,
    "swav": Swav,
    "dino": Dino,
    "self_masking": SelfMasking,
    "self_masking_cascade": SelfMaskingCascade,
    "noisy_labels": NoisyLabels,
    "random_init": RandomInit,
    "pixels": Pixels,
    "hog": Hog,
    "pca_pixels": PcaPixels,
    "kmeans_patches": KmeansPatches,
    "timm": Published,
    "partner": Partner,
}


def _network_side(name: str, _: object) -> type[Method]:
    """The implementation that the options of a plug-in name."""
    options = OPTIONS[name]
    found = load_reference(options.implementation)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise UserError(f"{options.implementation} is no subclass of bench.methods.base.Method")
    for attribute in ("trains", "needs_masks"):
        if getattr(found, attribute) != getattr(options, attribute):
            raise UserError(f"{options.implementation} and {options.__name__} disagree on {attribute!r}")
    return found


METHODS: Registry[type[Method]] = Registry(METHOD_GROUP, _BUILT_IN, _network_side)


def build_method(
    name: str,
    options: MethodOptions,
    shape: ImageShape,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int,
    n_classes: int | None = None,
) -> Method:
    """A method on the CPU, initialised by its seed alone; torch's global generator is left as it was.

    Args:
        name: name of the method.
        options: its options, of the class of that name in `bench.study.methods`.
        shape: of the images.
        mean: of the train pool, one per channel, in [0, 1] units.
        std: of the train pool, one per channel, in [0, 1] units.
        seed: of the initialisation.
        n_classes: of the data; read by methods that learn from masks alone.

    Raises:
        UserError: no such method, or a network that does not fit the image.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method = METHODS[name]
        return method(options, shape, mean, std, *[n_classes] if method.needs_masks else [])
