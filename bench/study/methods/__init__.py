"""What may be set on each method: typed, bounded, described, with the paper. Torch-free, so that a plan checks it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench.errors import UserError
from bench.study.methods.mae import MaeOptions
from bench.study.methods.options import MethodOptions, Precision, TrainedOptions
from bench.study.methods.simclr import SimclrOptions
from bench.study.methods.unet import UnetDenoiseOptions, UnetMaskedOptions, UnetOptions
from bench.study.methods.untrained import PixelsOptions, RandomInitOptions, TimmOptions

__all__ = [
    "METHODS",
    "MaeOptions",
    "MethodOptions",
    "PixelsOptions",
    "Precision",
    "RandomInitOptions",
    "SimclrOptions",
    "TimmOptions",
    "TrainedOptions",
    "UnetDenoiseOptions",
    "UnetMaskedOptions",
    "UnetOptions",
    "promoted",
    "resolve_precision",
    "weights_digest",
]

METHODS: dict[str, type[MethodOptions]] = {
    options.name: options
    for options in (
        MaeOptions,
        UnetMaskedOptions,
        UnetDenoiseOptions,
        SimclrOptions,
        RandomInitOptions,
        PixelsOptions,
        TimmOptions,
    )
}


def resolve_precision(options: MethodOptions, gpus: int) -> MethodOptions:
    """The options with precision "auto" replaced: bf16 with a GPU, fp32 without; others are returned as they are."""
    if not isinstance(options, TrainedOptions) or options.precision != "auto":
        return options
    return options.model_copy(update={"precision": "bf16" if gpus else "fp32"})


def promoted(options: MethodOptions) -> dict[str, float | None]:
    """The axes that have a column of their own in the table of rows: mask_ratio and noise_level, null where absent."""
    return {"mask_ratio": getattr(options, "mask_ratio", None), "noise_level": getattr(options, "sigma", None)}


def weights_digest(options: MethodOptions) -> str | None:
    """SHA-256 of the weights file the options name, so that a key follows its content; None where none is named.

    Raises:
        UserError: the file does not exist.
    """
    weights = getattr(options, "weights", None)
    if weights is None:
        return None
    path = Path(weights).expanduser()
    if not path.is_file():
        raise UserError(f"{options.name}.weights: there is no file {weights!r}")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
