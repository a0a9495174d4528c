"""Decoders of segmentation-models-pytorch on the maps of any encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn
from torch.nn import functional

from bench.methods.encoder import Encoder
from bench.protocols.pyramid import Level, resampled, sizes
from bench.study.protocols.segmentation import Decoder

Statistics = Sequence[tuple[Tensor, Tensor]]  # mean and standard deviation of every level's channels

NARROWEST = 16  # channels of a U-Net's finest blocks


class Segmenter(nn.Module):
    """An encoder, its maps standardised by fixed statistics, a decoder and a head; logits have the image's size.

    Attributes:
        encoder_trains: whether `train()` reaches the encoder; else its batch statistics and dropout stay settled.
    """

    def __init__(
        self,
        encoder: Encoder,
        levels: Sequence[Level],
        statistics: Statistics,
        decoder: Decoder,
        width: int,
        n_classes: int,
    ) -> None:
        super().__init__()
        self.encoder, self.levels = encoder, tuple(levels)
        self.encoder_trains = False
        for number, (mean, std) in enumerate(statistics):
            self.register_buffer(f"mean{number}", mean)
            self.register_buffer(f"std{number}", std)
        self.places, self.decoder, self.head = build_decoder(
            decoder, [encoder.layers[level.layer].channels for level in levels], width, n_classes
        )

    def train(self, mode: bool = True) -> Segmenter:
        super().train(mode)
        self.encoder.train(mode and self.encoder_trains)
        return self

    def maps(self, images: Tensor) -> list[Tensor]:
        """What the decoder reads of images [N, C, H, W] in [0, 1]: standardised maps, the finest first."""
        found = self.encoder.forward_layers(images, list(dict.fromkeys(level.layer for level in self.levels)))
        wanted = sizes(self.levels, images.shape[-2], images.shape[-1])
        return [
            (resampled(found[level.layer], size) - getattr(self, f"mean{number}")) / getattr(self, f"std{number}")
            for number, (level, size) in enumerate(zip(self.levels, wanted, strict=True))
        ]

    def decode(self, maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """Logits [N, K, *size] of maps as `maps` gives them."""
        blank = maps[0].new_empty(0, 0, *size)  # stands for the image and strides that the decoder does not read
        features = self.decoder([*[blank] * self.places, *maps])
        return functional.interpolate(self.head(features), size, mode="bilinear", align_corners=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, K, H, W] of images [N, C, H, W] in [0, 1]."""
        return self.decode(self.maps(images), (images.shape[-2], images.shape[-1]))


def build_decoder(
    name: Decoder, channels: Sequence[int], width: int, n_classes: int
) -> tuple[int, nn.Module, nn.Module]:
    """A decoder for maps of these channels, and a head on it, both initialised as the library does.

    Args:
        name: of the decoder.
        channels: of the maps, the finest first.
        width: channels at the widest.
        n_classes: K.

    Returns:
        How many entries, for the image and strides it does not read, the decoder expects ahead of the maps; the
        decoder; the head.
    """
    places, decoder, inside, kernel = _BUILDERS[name](list(channels), width)
    head = SegmentationHead(inside, n_classes, kernel_size=kernel)
    initialize_decoder(decoder)
    initialize_head(head)
    for part in (decoder, head):
        part.to(memory_format=torch.channels_last)  # its convolutions are quicker so, up to 1.4 times
    return places, decoder, head


def _unet(channels: list[int], width: int) -> tuple[int, nn.Module, int, int]:
    widths = [max(NARROWEST, width >> step) for step in range(len(channels))]
    return 1, UnetDecoder([0, *channels], widths, n_blocks=len(widths)), widths[-1], 3


def _pspnet(channels: list[int], width: int) -> tuple[int, nn.Module, int, int]:
    return 0, PSPDecoder(channels, out_channels=width), width, 3


def _deeplabv3plus(channels: list[int], width: int) -> tuple[int, nn.Module, int, int]:
    sizes: dict[str, Any] = {"encoder_depth": 5, "output_stride": 16, "atrous_rates": (12, 24, 36)}
    decoder = DeepLabV3PlusDecoder(
        [0, 0, *channels], out_channels=width, aspp_separable=True, aspp_dropout=0.5, **sizes
    )
    return 2, decoder, width, 1


def _fpn(channels: list[int], width: int) -> tuple[int, nn.Module, int, int]:
    decoder = FPNDecoder([0, 0, *channels], pyramid_channels=width, segmentation_channels=width // 2)
    return 0, decoder, decoder.out_channels, 1


def _upernet(channels: list[int], width: int) -> tuple[int, nn.Module, int, int]:
    return 2, UPerNetDecoder([0, 0, *channels], decoder_channels=width), width, 1


_BUILDERS: dict[Decoder, Callable[[list[int], int], tuple[int, nn.Module, int, int]]] = {
    "unet": _unet,
    "pspnet": _pspnet,
    "deeplabv3plus": _deeplabv3plus,
    "fpn": _fpn,
    "upernet": _upernet,
}
