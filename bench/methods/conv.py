"""Small plain convolutional networks: five convolutions, for small images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from torch import Tensor, nn

from bench.data.shape import ImageShape
from bench.methods.feature_maps import Encoder, LayerInfo

GROUPS = 8  # of the group norm: statistics of each image by itself, so neither batches nor workers mix


class ConvNet(nn.Module):
    """Stages of conv3x3, norm, ReLU; each halves the map where its stride is 2."""

    def __init__(self, channels: int, widths: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        inputs = [channels, *widths[:-1]]
        self.stages = nn.Sequential(*map(conv_stage, inputs, widths, strides))

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images to the map behind the last stage."""
        return self.stages(images)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """timm's description of depth, for layer-wise decay."""
        return {"blocks": r"^stages\.(\d+)"}


class ConvEncoder(Encoder):
    """A plain convolutional network; layers stage1 .. stageN."""

    backbone: ConvNet

    def __init__(
        self,
        shape: ImageShape,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        widths: Sequence[int],
        strides: Sequence[int],
    ) -> None:
        scales = accumulate(strides, mul)
        layers = {
            f"stage{stage}": LayerInfo(width, scale)
            for stage, (width, scale) in enumerate(zip(widths, scales, strict=True), start=1)
        }
        super().__init__(
            ConvNet(shape.channels, widths, strides),
            shape,
            mean,
            std,
            layers=layers,
            default_layer=f"stage{len(widths)}",
            arguments={"widths": list(widths), "strides": list(strides)},
        )

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        maps: dict[str, Tensor] = {}
        features = images
        for name, stage in zip(self.layers, self.backbone.stages, strict=True):
            if all(layer in maps for layer in wanted):
                break
            maps[name] = features = stage(features)
        return maps


def conv_stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Conv3x3-GroupNorm-ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(GROUPS, outputs),
        nn.ReLU(inplace=True),
    )
