"""Code that loads a segmentation network without this package, as its model card shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bench.engine.winner.page_code import opened, use
from bench.protocols.decoders import NARROWEST
from bench.protocols.pyramid import Level, sizes


class _Decoder(NamedTuple):
    """A decoder of segmentation-models-pytorch in code: its module, the call, entries ahead of the maps, its head."""

    module: str
    call: str
    places: int
    inside: int
    kernel: int


def smp_lines(card: Mapping[str, Any]) -> list[str]:
    """Python that defines `model` with torch, timm, segmentation-models-pytorch and safetensors, and uses it."""
    winner, layers = card["winner"], card["layers"]
    given, settings = winner["input"], winner["head"]
    levels = [Level(*level) for level in settings["levels"]]
    names = [card["default_layer"] if level.layer == "last" else level.layer for level in levels]
    read = sorted({list(layers).index(name) for name in names})
    order = [read.index(list(layers).index(name)) for name in names]
    made = _DECODERS[settings["decoder"]]([layers[name]["channels"] for name in names], settings["width"])
    # a ViT of the house passes its last block alone through the final norm
    last = "found[-1] = encoder.norm(found[-1].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)"
    by_hand = card["family"] == "vit" and read[-1] == len(layers) - 1
    return [
        "import json, timm, torch",
        "from safetensors.torch import load_file",
        "from segmentation_models_pytorch.base import SegmentationHead",
        f"from segmentation_models_pytorch.decoders.{made.module}.decoder import {made.call.partition('(')[0]}",
        "from torch.nn.functional import adaptive_avg_pool2d, interpolate",
        "",
        *opened(),
        f"decoder = {made.call}.eval()",
        f"classifier = SegmentationHead({made.inside}, {len(winner['classes'])}, kernel_size={made.kernel}).eval()",
        'for name, part in (("decoder.", decoder), ("head.", classifier)):',
        "    part.load_state_dict({key[len(name):]: value for key, value in head.items() if key.startswith(name)})",
        "",
        "def resampled(maps, size):",
        "    if size[0] <= maps.shape[2] and size[1] <= maps.shape[3]:",
        "        return adaptive_avg_pool2d(maps, size)",
        '    return interpolate(maps, size, mode="bilinear", align_corners=False)',
        "",
        "@torch.inference_mode()",
        "def model(images):",
        f"    found = encoder.forward_intermediates((images - mean) / std, indices={read}, "
        f'norm={card["family"] == "timm"}, output_fmt="NCHW", intermediates_only=True)',
        *([f"    {last}"] if by_hand else []),
        f"    order, sizes = {order}, {sizes(levels, given['height'], given['width'])}",
        "    maps = [resampled(found[place], size) for place, size in zip(order, sizes)]",
        '    maps = [(part - head[f"mean{n}"]) / head[f"std{n}"] for n, part in enumerate(maps)]',
        f"    unread = [images.new_empty(0, 0, *images.shape[2:])] * {made.places}",
        "    logits = classifier(decoder([*unread, *maps]))",
        '    logits = interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False)',
        '    return logits / card["winner"]["temperature"]',
        *use("model(images)", ", H, W"),
    ]


def _unet(channels: Sequence[int], width: int) -> _Decoder:
    widths = [max(NARROWEST, width >> step) for step in range(len(channels))]
    return _Decoder("unet", f"UnetDecoder({[0, *channels]}, {widths}, n_blocks={len(widths)})", 1, widths[-1], 3)


def _pspnet(channels: Sequence[int], width: int) -> _Decoder:
    return _Decoder("pspnet", f"PSPDecoder({list(channels)}, out_channels={width})", 0, width, 3)


def _deeplabv3plus(channels: Sequence[int], width: int) -> _Decoder:
    call = (
        f"DeepLabV3PlusDecoder({[0, 0, *channels]}, encoder_depth=5, out_channels={width}, "
        "atrous_rates=(12, 24, 36), output_stride=16, aspp_separable=True, aspp_dropout=0.5)"
    )
    return _Decoder("deeplabv3", call, 2, width, 1)


def _fpn(channels: Sequence[int], width: int) -> _Decoder:
    call = f"FPNDecoder({[0, 0, *channels]}, pyramid_channels={width}, segmentation_channels={width // 2})"
    return _Decoder("fpn", call, 0, width // 2, 1)


def _upernet(channels: Sequence[int], width: int) -> _Decoder:
    return _Decoder("upernet", f"UPerNetDecoder({[0, 0, *channels]}, decoder_channels={width})", 2, width, 1)


_DECODERS: dict[str, Callable[[Sequence[int], int], _Decoder]] = {
    "unet": _unet,
    "pspnet": _pspnet,
    "deeplabv3plus": _deeplabv3plus,
    "fpn": _fpn,
    "upernet": _upernet,
}
