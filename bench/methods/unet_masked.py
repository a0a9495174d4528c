"""U-Net autoencoder on images with black patches, arXiv 2410.19899, task "patch"."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bench.data.corrupt import mask_patches
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.restore import Restore, patch_side
from bench.study.methods import UnetMaskedOptions


class UnetMasked(Restore):
    """A share of the patches, drawn for each image by itself, is black."""

    def __init__(
        self, options: UnetMaskedOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(options, shape, mean, std)
        self.mask_ratio = options.mask_ratio
        self.patch = patch_side(options, shape)

    def corrupt(self, images: Tensor, draws: Draws) -> Tensor:
        return mask_patches(images, self.patch, self.mask_ratio, draws)[0]
