"""Histograms of oriented gradients (Dalal & Triggs, CVPR 2005), computed by scikit-image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from skimage.feature import hog
from torch import Tensor, nn

from bench.data.shape import ImageShape
from bench.methods.base import Untrained
from bench.methods.feature_maps import Encoder, LayerInfo
from bench.study.methods import HogOptions


class HogEncoder(Encoder):
    """The descriptor of the whole image as a map of one step; its one layer is "hog"."""

    def __init__(
        self,
        shape: ImageShape,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        orientations: int,
        cell: int,
        block: int,
    ) -> None:
        blocks = (shape.height // cell - block + 1) * (shape.width // cell - block + 1)
        super().__init__(
            nn.Identity(),
            shape,
            mean,
            std,
            layers={"hog": LayerInfo(blocks * block * block * orientations, max(shape.height, shape.width))},
            default_layer="hog",
            arguments={"orientations": orientations, "cell": cell, "block": block},
        )
        self.orientations, self.cell, self.block = orientations, cell, block

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """One descriptor [N, D, 1, 1]; no gradient reaches the images."""
        # of the image itself: normalised channels would weigh against each other when the strongest edge is taken
        pictures = self.denormalise(images).detach().permute(0, 2, 3, 1).cpu().double().numpy()
        described = np.stack([self.describe(picture) for picture in pictures])
        return {"hog": torch.from_numpy(described).to(images)[:, :, None, None]}

    def describe(self, picture: np.ndarray) -> np.ndarray:
        """Float64 [D] of one image [H, W, C] in [0, 1]: histograms by cell, L2-Hys over blocks, flat."""
        return np.asarray(
            hog(
                picture,
                orientations=self.orientations,
                pixels_per_cell=(self.cell, self.cell),
                cells_per_block=(self.block, self.block),
                channel_axis=-1,
            )
        )


class Hog(Untrained):
    """Nothing learned, nothing drawn: the edges of the image."""

    def __init__(self, options: HogOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> None:
        cell = options.cell(shape.height, shape.width)
        encoder = HogEncoder(shape, mean, std, orientations=options.orientations, cell=cell, block=options.block_size)
        super().__init__(encoder)
