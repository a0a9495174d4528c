"""What an encoder is: a network that turns images into named feature maps, one for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.data.shape import ImageShape
from bench.errors import unknown


class LayerInfo(NamedTuple):
    """Channels of a feature map, and pixels of the image per step of the map."""

    channels: int
    stride: int


class Encoder(nn.Module):
    """A backbone with the normalisation its images need.

    Attributes:
        layers: channels and stride of every layer, in order of depth.
        default_layer: what "last" means.
        shape: the image shape the network was built for.
        arguments: the sizes that rebuild the network, plain JSON data.
        backbone: the network whose weights are saved.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        shape: ImageShape,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        layers: dict[str, LayerInfo],
        default_layer: str,
        arguments: dict[str, Any],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.shape = shape
        self.layers = layers
        self.default_layer = default_layer
        self.arguments = arguments
        self.register_buffer("mean", _per_channel(mean), persistent=False)
        self.register_buffer("std", _per_channel(std).clamp_min(1e-3), persistent=False)

    def normalise(self, images: Tensor) -> Tensor:
        """Images in [0, 1] to the units the backbone reads; [N, C, H, W]."""
        return (images - self.mean) / self.std

    def denormalise(self, images: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return images * self.std + self.mean

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """The wanted layers' maps of normalised images; every network family has its own."""
        raise NotImplementedError

    def forward_layers(self, images: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Feature maps of a batch; only as much of the network is run as the deepest layer needs.

        Args:
            images: float [N, C, H, W] in [0, 1].
            layers: names of layers, "last" for the default one; None for all.

        Returns:
            The map [N, channels, height, width] of each layer under the name that was asked for.

        Raises:
            UserError: the encoder has no such layer.
        """
        names = {layer: self.resolve(layer) for layer in (self.layers if layers is None else layers)}
        maps = self.maps(self.normalise(images), tuple(names.values()))
        return {layer: maps[name] for layer, name in names.items()}

    def embed(self, images: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """One vector per image and layer: the mean over the map, [N, channels]. Arguments as `forward_layers`."""
        return {layer: features.mean(dim=(2, 3)) for layer, features in self.forward_layers(images, layers).items()}

    def forward(self, images: Tensor) -> Tensor:
        """The vector of the default layer, [N, channels]."""
        return self.embed(images, [self.default_layer])[self.default_layer]

    def resolve(self, layer: str) -> str:
        """The layer's own name; "last" is the default layer. Raises UserError where there is no such layer."""
        if layer == "last":
            return self.default_layer
        if layer not in self.layers:
            raise unknown("layer", layer, [*self.layers, "last"])
        return layer

    def timm_arguments(self) -> dict[str, Any] | None:
        """What `timm.create_model` needs, beside `checkpoint_path`, to load the saved weights; None: not in timm."""
        return None

    @property
    def device(self) -> torch.device:
        return self.mean.device


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32).detach().clone().view(1, -1, 1, 1)
