"""U-Net autoencoder on noisy images: the stated intention of arXiv 2410.19899's task "gaussian", in float."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bench.data.corrupt import add_noise
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.restore import Restore
from bench.study.methods import UnetDenoiseOptions


class UnetDenoise(Restore):
    """White Gaussian noise is added to every pixel."""

    def __init__(
        self, options: UnetDenoiseOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(options, shape, mean, std)
        self.sigma = options.sigma

    def corrupt(self, images: Tensor, draws: Draws) -> Tensor:
        return add_noise(images, self.sigma, draws)
