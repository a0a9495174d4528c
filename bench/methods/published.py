"""Weights that others published, in a timm network (the method `timm`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Untrained
from bench.methods.timm_encoder import TimmEncoder, published_normalisation
from bench.study.encoders import TIMM_PREFIX
from bench.study.methods import TimmOptions


class Published(Untrained):
    """A timm network with its weights, read through the normalisation they were trained with, not the data set's."""

    def __init__(self, options: TimmOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> None:
        del mean, std
        if options.weights and not Path(options.weights).expanduser().is_file():
            raise UserError(f"timm.weights: there is no file {options.weights!r}")
        name = options.encoder.removeprefix(TIMM_PREFIX)
        super().__init__(
            TimmEncoder(
                shape,
                *published_normalisation(name, shape.channels),
                name=name,
                patch_size=options.patch_size,
                weights=options.weights and str(Path(options.weights).expanduser()),
                pretrained=options.pretrained,
            )
        )
