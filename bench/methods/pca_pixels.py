"""PCA-whitened pixels: the train pool's leading directions, each scaled to variance one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.shape import ImageShape
from bench.methods.feature_maps import Encoder, LayerInfo
from bench.methods.fitted import Fitted, area_pool, pooled_shape, read_pooled, sample_pool, whitening
from bench.seeds import named_seed
from bench.study.methods import PcaPixelsOptions


class PcaEncoder(Encoder):
    """One linear map of the pixels; its one layer is "pca_pixels". It is zero until it is fitted."""

    backbone: nn.Linear

    def __init__(
        self, shape: ImageShape, mean: Sequence[float], std: Sequence[float], *, components: int, size: int
    ) -> None:
        pooled = pooled_shape(shape, size)
        pixels = pooled.channels * pooled.height * pooled.width
        components = min(components, pixels)
        super().__init__(
            nn.Linear(pixels, components),
            shape,
            mean,
            std,
            layers={"pca_pixels": LayerInfo(components, max(shape.height, shape.width))},
            default_layer="pca_pixels",
            arguments={"components": components, "size": size},
        )
        self.pooled = pooled
        self.load(np.zeros((components, pixels)), np.zeros(components))

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        pixels = area_pool(images, self.pooled).flatten(1)
        return {"pca_pixels": self.backbone(pixels)[:, :, None, None]}

    def load(self, weight: np.ndarray, bias: np.ndarray) -> None:
        """Takes the map: weight [components or fewer, pixels] and bias; the other components are zero."""
        with torch.no_grad():
            self.backbone.weight.zero_()[: len(weight)] = torch.from_numpy(weight)
            self.backbone.bias.zero_()[: len(bias)] = torch.from_numpy(bias)


class PcaPixels(Fitted):
    """Principal directions of the pixels, whitened; directions that the pool does not span are zero."""

    backbone: PcaEncoder

    def __init__(
        self, options: PcaPixelsOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(PcaEncoder(shape, mean, std, components=options.components, size=options.size))
        self.options = options

    def fit(self, images: np.ndarray, pool: np.ndarray, seed: int) -> None:
        """Fits the directions to at most `options.samples` images; the seed is not read: every run finds the same."""
        encoder = self.backbone
        chosen = sample_pool(pool, self.options.samples, "pca_pixels", "sample")
        pixels = encoder.normalise(read_pooled(images, chosen, encoder.pooled)).flatten(1).numpy()
        encoder.load(*whitening(pixels, encoder.backbone.out_features, named_seed("pca_pixels", "solver")))
