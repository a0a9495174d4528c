"""U-Net autoencoder on images with black patches, arXiv 2410.19899, task "patch"."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from bench.data.corrupt import mask_patches
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.restore import Restore
from bench.study.encoders import check_patch, common_divisor_near
from bench.study.methods import UnetMaskedOptions


class UnetMasked(Restore):
    """A share of the patches, drawn for each image by itself, is black."""

    def __init__(
        self, options: UnetMaskedOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(options, shape, mean, std)
        self.mask_ratio = options.mask_ratio
        self.patch = options.patch or default_patch(shape)
        check_patch("unet_masked.patch", self.patch, shape.height, shape.width)

    def corrupt(self, images: Tensor, draws: Draws) -> Tensor:
        return mask_patches(images, self.patch, self.mask_ratio, draws)[0]


def default_patch(shape: ImageShape) -> int:
    """About an eighth of the short side, at least 2 pixels: 2 on 8 x 8, 4 on 32 x 32."""
    return common_divisor_near(shape.height, shape.width, max(2.0, min(shape.height, shape.width) / 8))
