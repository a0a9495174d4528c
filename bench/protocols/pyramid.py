"""Which maps of an encoder a decoder reads, and at which strides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import UserError
from bench.methods.encoder import Encoder
from bench.study.protocols.segmentation import Decoder

LEVELS = 4  # of a pyramid made from maps of one stride, and of the decoders made for four


class Level(NamedTuple):
    """One map of a pyramid: the layer it comes from and the stride it is resampled to."""

    layer: str
    stride: int


def pyramid(encoder: Encoder, decoder: Decoder) -> tuple[Level, ...]:
    """The maps a decoder reads, the finest first; each stride is twice the one before, or four times (deeplabv3plus).

    Layers behind the default one (the decoder of a pretrained U-Net) are not read. Of a network that halves its maps,
    each level is the deepest layer of its stride; levels coarser than all layers are pooled from the last. Of a plain
    vision transformer, whose maps all have the stride p of its patches, four blocks spread evenly over the depth become
    levels of strides p/4, p/2, p and 2 p, resampled without weights.

    * unet reads every stride; fpn and upernet the four coarsest (four, where the network has fewer);
    * deeplabv3plus the last layer, at a stride of at most 16, and a map of a quarter of that;
    * pspnet one map, of stride 8 or the next finer, as the library does; of a vision transformer the last.

    Raises:
        UserError: the encoder has no maps.
    """
    layers = trunk(encoder)
    strides = sorted({encoder.layers[layer].stride for layer in layers})
    if all(stride >= min(encoder.shape.height, encoder.shape.width) for stride in strides):
        raise UserError("segmentation: the encoder's maps are of one step; a decoder needs patch tokens or maps")
    if len(strides) == 1:
        return _plain(layers, strides[0], decoder)
    finest, coarsest = strides[0], strides[-1]
    if decoder == "unet":
        wanted = _doubling(finest, 1 + round(math.log2(coarsest / finest)))
    elif decoder == "pspnet":
        wanted = [max(stride for stride in strides if stride <= max(8, finest))]
    elif decoder == "deeplabv3plus":
        high = max(min(coarsest, 16), 4 * finest)
        return _level(encoder, layers, high // 4), Level(layers[-1], high)
    else:
        wanted = _doubling(max(coarsest // 8, finest), LEVELS)
    return tuple(_level(encoder, layers, stride) for stride in wanted)


def sizes(levels: Sequence[Level], height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of every level's map; exactly as many steps apart as the strides say, whatever the image."""
    top = levels[-1].stride
    base = max(1, round(height / top)), max(1, round(width / top))
    return [(base[0] * (top // level.stride), base[1] * (top // level.stride)) for level in levels]


def resampled(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [N, C, h, w] at another size: averaged over areas where it is smaller, else bilinear."""
    if features.shape[-2:] == torch.Size(size):
        return features
    if size[0] <= features.shape[-2] and size[1] <= features.shape[-1]:
        return functional.adaptive_avg_pool2d(features, size)
    return functional.interpolate(features, size, mode="bilinear", align_corners=False)


def trunk(encoder: Encoder) -> list[str]:
    """The layers up to the default one, in order of depth."""
    names = list(encoder.layers)
    return names[: names.index(encoder.default_layer) + 1]


def _plain(layers: Sequence[str], patch: int, decoder: Decoder) -> tuple[Level, ...]:
    if decoder == "pspnet":
        return (Level(layers[-1], patch),)
    strides = _doubling(max(1, patch // 4), LEVELS)
    blocks = [layers[math.ceil(len(layers) * part / LEVELS) - 1] for part in range(1, LEVELS + 1)]
    levels = tuple(map(Level, blocks, strides))
    return (levels[0], Level(layers[-1], strides[2])) if decoder == "deeplabv3plus" else levels


def _level(encoder: Encoder, layers: Sequence[str], stride: int) -> Level:
    """The deepest layer of this stride; the next finer one where there is none, or the finest of all."""
    found = [encoder.layers[layer].stride for layer in layers]
    nearest = max((value for value in found if value <= stride), default=min(found))
    return Level([layer for layer, value in zip(layers, found, strict=True) if value == nearest][-1], stride)


def _doubling(start: int, count: int) -> list[int]:
    return [start * 2**step for step in range(count)]
