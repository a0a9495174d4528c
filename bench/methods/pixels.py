"""The raw image as the feature."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from bench.data.shape import ImageShape
from bench.methods.base import Untrained
from bench.methods.feature_maps import Encoder, LayerInfo
from bench.study.methods import PixelsOptions


class PixelsEncoder(Encoder):
    """The image itself, area-pooled where a size is given; its one layer is "pixels"."""

    def __init__(
        self, shape: ImageShape, mean: Sequence[float], std: Sequence[float], *, size: int | None = None
    ) -> None:
        stride = 1 if size is None else max(1, round(min(shape.height, shape.width) / size))
        super().__init__(
            nn.Identity(),
            shape,
            mean,
            std,
            layers={"pixels": LayerInfo(shape.channels, stride)},
            default_layer="pixels",
            arguments={"size": size},
        )
        self.size = size

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        return {"pixels": images if self.size is None else functional.adaptive_avg_pool2d(images, self.size)}

    def embed(self, images: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Every pixel is a feature: [N, C * H * W]. (The mean over the map, as elsewhere, would leave a grey level.)"""
        return {layer: pixels.flatten(1) for layer, pixels in self.forward_layers(images, layers).items()}


class Pixels(Untrained):
    """Nothing learned, nothing drawn."""

    def __init__(self, options: PixelsOptions, shape: ImageShape, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(PixelsEncoder(shape, mean, std, size=options.size))
