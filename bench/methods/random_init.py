"""An encoder as it was initialised: what pretraining has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from bench.data.shape import ImageShape
from bench.methods.base import Untrained
from bench.methods.encoder import build_encoder
from bench.study.methods import RandomInitOptions


class RandomInit(Untrained):
    """Nothing but the initialisation."""

    def __init__(
        self, options: RandomInitOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        encoder = build_encoder(options.encoder, shape, mean, std, patch_size=options.patch_size, skip=options.skip)
        super().__init__(encoder)
