"""A U-Net around any encoder network of segmentation-models-pytorch, and through it of timm."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor

from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.feature_maps import Encoder, LayerInfo
from bench.methods.timm_encoder import create_outline
from bench.study.encoders import SMP_LEVELS, SMP_PREFIX

TIMM = "tu-"  # how segmentation-models-pytorch marks timm's networks
DECODER = (256, 128, 64, 32, 16)  # channels of its decoder, by default


class SmpUnet(smp.Unet):
    """The library's U-Net, with what layer-wise decay asks of a network."""

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """timm's description of depth: the encoder as one, then everything behind it."""
        return {"stem": r"^encoder\."}


class SmpUnetEncoder(Encoder):
    """A U-Net of segmentation-models-pytorch as an encoder; it reads [0, 1] images as they are, as the other U-Nets do.

    Layers enc2 .. enc5, bottleneck, dec5 .. dec1, where encK and decK have 2^(K-1) pixels a step, as in the other
    U-Nets; encoder networks that keep no map at a step lack that layer, and some keep enc1. "last" is the bottleneck.
    """

    backbone: SmpUnet

    def __init__(self, shape: ImageShape, mean: Sequence[float], std: Sequence[float], *, name: str) -> None:
        """Builds the network; no weights are downloaded.

        Raises:
            UserError: the library has no such network, or builds no U-Net around it.
        """
        del mean, std
        backbone = create_unet(name, shape).to(memory_format=torch.channels_last)
        super().__init__(
            backbone,
            shape,
            mean=[0.0] * shape.channels,
            std=[1.0] * shape.channels,
            layers=_layers(backbone.encoder.out_channels, shape.channels),
            default_layer="bottleneck",
            arguments={"name": name},
        )

    def maps(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """As the library's forward pass, which keeps no map of its decoder; stops behind the deepest wanted one."""
        encoded = self.backbone.encoder(images)
        maps = {f"enc{level}": features for level, features in enumerate(encoded[:-1], start=1)}
        maps["bottleneck"] = encoded[-1]
        features = self.backbone.decoder.center(encoded[-1])
        for level, block in zip(range(SMP_LEVELS, 0, -1), self.backbone.decoder.blocks, strict=True):
            if all(name in maps for name in wanted):
                break
            beside = encoded[level - 1]
            skip = beside if level > 1 else None  # the library's decoder reads no map of full size
            maps[f"dec{level}"] = features = block(features, *beside.shape[-2:], skip_connection=skip)
        return maps


def _layers(channels: Sequence[int], image_channels: int) -> dict[str, LayerInfo]:
    """Channels and stride of the layers; a map without channels, and the image itself, are none."""
    *levels, deepest = channels
    if levels[0] == image_channels:
        levels[0] = 0
    layers = {f"enc{level}": LayerInfo(width, 2 ** (level - 1)) for level, width in enumerate(levels, 1) if width}
    layers["bottleneck"] = LayerInfo(deepest, 2**SMP_LEVELS)
    for level, width in zip(range(SMP_LEVELS, 0, -1), DECODER, strict=True):
        layers[f"dec{level}"] = LayerInfo(width, 2 ** (level - 1))
    return layers


def create_unet(name: str, shape: ImageShape) -> SmpUnet:
    """The U-Net from images to images of this shape, around the encoder of this name. Errors as `SmpUnetEncoder`."""
    check_network(name, "encoder")
    sizes: dict[str, Any] = {"in_channels": shape.channels, "classes": shape.channels}
    if name.startswith(TIMM) and hasattr(create_outline(name.removeprefix(TIMM)), "set_input_size"):
        sizes["img_size"] = (shape.height, shape.width)
    try:
        return SmpUnet(name, encoder_weights=None, decoder_channels=DECODER, **sizes)
    except (ValueError, RuntimeError, AttributeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"encoder: no U-Net can be built around {SMP_PREFIX + name!r}: {reason}") from error


def check_network(name: str, key: str) -> None:
    """Raises UserError, with the nearest names, unless the library knows an encoder of this name."""
    network = name.removeprefix(TIMM)
    if name in smp.encoders.get_encoder_names() or (name.startswith(TIMM) and timm.is_model(network.split(".")[0])):
        return
    near = get_close_matches(name, [*smp.encoders.get_encoder_names(), *(TIMM + m for m in timm.list_models())])
    hint = f"; near: {', '.join(SMP_PREFIX + match for match in near)}" if near else ""
    raise UserError(f"{key}: segmentation-models-pytorch has no encoder {name!r}{hint}")
