"""U-Net autoencoder on noisy images, arXiv 2410.19899, task "gaussian": as it is meant, or as its code ships."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.restore import NOISES, Restore
from bench.study.methods import UnetDenoiseOptions


class UnetDenoise(Restore):
    """Every pixel has noise of its own."""

    def __init__(
        self, options: UnetDenoiseOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(options, shape, mean, std)
        self.sigma, self.add_noise = options.sigma, NOISES[options.noise]

    def corrupt(self, images: Tensor, draws: Draws) -> Tensor:
        return self.add_noise(images, self.sigma, draws)
