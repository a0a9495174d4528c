"""What may be set on each method: typed, bounded, described, with the paper. Torch-free, so that a plan checks it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench.errors import UserError
from bench.study.methods.classic import HogOptions, KmeansPatchesOptions, PcaPixelsOptions
from bench.study.methods.dino import DinoOptions
from bench.study.methods.mae import MaeOptions
from bench.study.methods.noisy_labels import LabelNoise, NoisyLabelsOptions
from bench.study.methods.options import MethodOptions, Precision, TrainedOptions
from bench.study.methods.partner import PartnerOptions
from bench.study.methods.self_masking import SelfMaskingCascadeOptions, SelfMaskingOptions
from bench.study.methods.simclr import SimclrOptions
from bench.study.methods.swav import SwavOptions
from bench.study.methods.unet import (
    MaskOptions,
    NoiseOptions,
    UnetDenoiseOptions,
    UnetMaskedOptions,
    UnetMixedOptions,
    UnetOptions,
)
from bench.study.methods.untrained import PixelsOptions, RandomInitOptions, TimmOptions
from bench.study.plugins import METHOD_GROUP, PIECES, Registry, options_of

__all__ = [
    "METHODS",
    "DinoOptions",
    "HogOptions",
    "KmeansPatchesOptions",
    "LabelNoise",
    "MaeOptions",
    "MaskOptions",
    "MethodOptions",
    "NoiseOptions",
    "NoisyLabelsOptions",
    "PartnerOptions",
    "PcaPixelsOptions",
    "PixelsOptions",
    "Precision",
    "RandomInitOptions",
    "SelfMaskingCascadeOptions",
    "SelfMaskingOptions",
    "SimclrOptions",
    "SwavOptions",
    "TimmOptions",
    "TrainedOptions",
    "UnetDenoiseOptions",
    "UnetMaskedOptions",
    "UnetMixedOptions",
    "UnetOptions",
    "promoted",
    "resolve_precision",
    "weights_digest",
]


def _taken() -> set[str]:
    from bench.study.protocols import PROTOCOLS

    return {*PIECES, *PROTOCOLS}


_BUILT_IN: tuple[type[MethodOptions], ...] = (
    MaeOptions,
    UnetMaskedOptions,
    UnetDenoiseOptions,
    UnetMixedOptions,
    SimclrOptions,
    SwavOptions,
    DinoOptions,
    SelfMaskingOptions,
    SelfMaskingCascadeOptions,
    NoisyLabelsOptions,
    RandomInitOptions,
    PixelsOptions,
    HogOptions,
    PcaPixelsOptions,
    KmeansPatchesOptions,
    TimmOptions,
    PartnerOptions,
)

METHODS: Registry[type[MethodOptions]] = Registry(
    METHOD_GROUP,
    {options.name: options for options in _BUILT_IN},
    options_of(MethodOptions, ("version", "paper", "implementation")),
    _taken,
)


def resolve_precision(options: MethodOptions, gpus: int) -> MethodOptions:
    """The options with precision "auto" replaced: bf16 with a GPU, fp32 without; others are returned as they are."""
    if not isinstance(options, TrainedOptions) or options.precision != "auto":
        return options
    return options.model_copy(update={"precision": "bf16" if gpus else "fp32"})


def promoted(options: MethodOptions) -> dict[str, float | None]:
    """The axes that have a column of their own in the table of rows: mask_ratio and noise_level, null where absent."""
    return {axis: getattr(options, axis, None) for axis in ("mask_ratio", "noise_level")}


def weights_digest(options: MethodOptions) -> str | None:
    """SHA-256 of the weights the options name, so that a key follows their content; None where none are named.

    Of a folder (an encoder that a study kept) the safetensors files count and the card, not the record of its training.

    Raises:
        UserError: the file does not exist, or the folder holds no weights.
    """
    named = [(field, getattr(options, field, None)) for field in ("weights", "densities")]
    digests = [_digest(f"{options.name}.{field}", path) for field, path in named if path is not None]
    return "+".join(digests) or None


def _digest(key: str, named: str) -> str:
    path = Path(named).expanduser()
    files = [path] if path.is_file() else [*sorted(path.glob("*.safetensors")), *path.glob("card.json")]
    if not files:
        what = "are no weights in the folder" if path.is_dir() else "is no file"
        raise UserError(f"{key}: there {what} {named!r}")
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
