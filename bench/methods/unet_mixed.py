"""U-Net autoencoder on noisy images with black patches: both corruptions of arXiv 2410.19899 on one image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bench.data.corrupt import mask_patches
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.restore import NOISES, Restore, patch_side
from bench.study.methods import UnetMixedOptions


class UnetMixed(Restore):
    """Noise on every pixel, then black patches: what is hidden is as black as without noise."""

    def __init__(
        self, options: UnetMixedOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(options, shape, mean, std)
        self.sigma, self.add_noise = options.sigma, NOISES[options.noise]
        self.mask_ratio = options.mask_ratio
        self.patch = patch_side(options, shape)

    def corrupt(self, images: Tensor, draws: Draws) -> Tensor:
        noisy = self.add_noise(images, self.sigma, draws)
        return mask_patches(noisy, self.patch, self.mask_ratio, draws)[0]
