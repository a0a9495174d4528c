"""The U-Net of arXiv 2410.19899: convolution pairs without normalisation, max-pooling, transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data.shape import ImageShape
from bench.methods.feature_maps import Encoder, LayerInfo


class UNet(nn.Module):
    """Images to images of the same shape; 7,760,163 parameters at widths 32-64-128-256-512 and 3 channels."""

    def __init__(self, channels: int, widths: Sequence[int], skip: bool) -> None:
        """Builds the network.

        Args:
            channels: of the image.
            widths: of each level from the finest, then of the bottleneck.
            skip: whether each decoder level reads the encoder's map of its level.
        """
        super().__init__()
        *levels, bottleneck = widths
        self.skip = skip
        self.enc = nn.ModuleList(conv_pair(i, o) for i, o in zip([channels, *levels[:-1]], levels, strict=True))
        self.bottleneck = conv_pair(levels[-1], bottleneck)
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in zip(widths[1:], levels, strict=True))
        self.dec = nn.ModuleList(conv_pair(2 * level if skip else level, level) for level in levels)
        self.out = nn.Conv2d(levels[0], channels, 1)
        self.initialise()

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, C, H, W]; the output is linear."""
        return self.out(self.maps(images, ["dec1"])["dec1"])

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """The wanted maps among enc1 .., bottleneck, dec.. dec1; stops behind the deepest of them."""
        maps: dict[str, Tensor] = {}
        features = images
        for level, encode in enumerate(self.enc, start=1):
            if all(name in maps for name in wanted):
                return maps
            maps[f"enc{level}"] = encode(features)
            features = functional.max_pool2d(maps[f"enc{level}"], 2)
        if not all(name in maps for name in wanted):
            maps["bottleneck"] = features = self.bottleneck(features)
        for level in range(len(self.enc), 0, -1):
            if all(name in maps for name in wanted):
                break
            features = self.up[level - 1](features)
            features = torch.cat([maps[f"enc{level}"], features], dim=1) if self.skip else features
            maps[f"dec{level}"] = features = self.dec[level - 1](features)
        return maps

    def initialise(self) -> None:
        """He-normal weights, zero biases (arXiv 1502.01852): nothing else keeps the signal alive without norms.

        The paper does not state its initialisation. From torch's default, half the training of a small network goes by
        before it moves.
        """
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                nn.init.zeros_(part.bias)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """timm's description of depth, for layer-wise decay: the levels of the encoder, then everything behind it."""
        return {"blocks": r"^enc\.(\d+)"}  # what does not match lies above


class UnetEncoder(Encoder):
    """The U-Net as an encoder; it reads [0, 1] images as they are, as published.

    Layers enc1 .. encL, bottleneck, decL .. dec1; "last" is the bottleneck.
    """

    backbone: UNet

    def __init__(
        self, shape: ImageShape, mean: Sequence[float], std: Sequence[float], *, widths: Sequence[int], skip: bool
    ) -> None:
        del mean, std
        levels = range(1, len(widths))
        layers = {f"enc{level}": LayerInfo(widths[level - 1], 2 ** (level - 1)) for level in levels}
        layers["bottleneck"] = LayerInfo(widths[-1], 2 ** len(levels))
        layers |= {f"dec{level}": LayerInfo(widths[level - 1], 2 ** (level - 1)) for level in reversed(levels)}
        super().__init__(
            UNet(shape.channels, widths, skip).to(memory_format=torch.channels_last),  # convolutions are quicker so
            shape,
            mean=[0.0] * shape.channels,
            std=[1.0] * shape.channels,
            layers=layers,
            default_layer="bottleneck",
            arguments={"widths": list(widths), "skip": skip},
        )

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        return self.backbone.maps(images, wanted)


def conv_pair(inputs: int, outputs: int) -> nn.Sequential:
    """Conv3x3-ReLU-Conv3x3-ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
    )
