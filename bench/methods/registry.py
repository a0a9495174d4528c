"""The methods by name, and how one is built."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bench.data.shape import ImageShape
from bench.errors import UserError, unknown
from bench.methods.base import Method
from bench.references import References, load_reference
from bench.study.methods import METHODS as OPTIONS
from bench.study.methods import MethodOptions
from bench.study.plugins import METHOD_GROUP, Registry

_BUILT_IN: References[type[Method]] = References(
    {
        "mae": "bench.methods.mae:Mae",
        "unet_masked": "bench.methods.unet_masked:UnetMasked",
        "unet_denoise": "bench.methods.unet_denoise:UnetDenoise",
        "unet_mixed": "bench.methods.unet_mixed:UnetMixed",
        "simclr": "bench.methods.simclr:Simclr",
        "swav": "bench.methods.swav:Swav",
        "dino": "bench.methods.dino:Dino",
        "self_masking": "bench.methods.self_masking:SelfMasking",
        "self_masking_cascade": "bench.methods.self_masking_cascade:SelfMaskingCascade",
        "noisy_labels": "bench.methods.noisy_labels:NoisyLabels",
        "random_init": "bench.methods.random_init:RandomInit",
        "pixels": "bench.methods.pixels:Pixels",
        "hog": "bench.methods.hog:Hog",
        "pca_pixels": "bench.methods.pca_pixels:PcaPixels",
        "kmeans_patches": "bench.methods.kmeans_patches:KmeansPatches",
        "timm": "bench.methods.published:Published",
        "partner": "bench.methods.fusion_partner:Partner",
    }
)


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
