"""The encoder networks a study may name: their sizes and layer names, known without importing torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from bench.errors import UserError, unknown

Family = Literal["vit", "conv", "unet", "timm"]

ONE_LAYER = frozenset({"pixels", "hog", "pca_pixels", "kmeans_patches"})  # features of methods without a network
TIMM_PREFIX = "timm/"  # timm/resnet18: any network of timm, by timm's name
SMP_PREFIX = "unet/"  # unet/resnet18: a U-Net around an encoder of segmentation-models-pytorch, by that library's name
SMP_LEVELS = 5  # how often such a U-Net halves the image


@dataclass(frozen=True)
class EncoderPreset:
    """The size of a network, independent of the image shape.

    Attributes:
        family: which builder reads it.
        widths: channels: of every block (vit, one number), of each stage (conv), of each level and then the
            bottleneck (unet).
        depth: blocks (vit), stages (conv), levels above the bottleneck (unet).
        heads: attention heads (vit).
        grid: patches along the short side that the default patch size aims at (vit).
        strides: stride of each stage (conv).
    """

    family: Family
    widths: tuple[int, ...]
    depth: int
    heads: int = 0
    grid: int = 0
    strides: tuple[int, ...] = ()


def _vit(width: int, depth: int, heads: int, grid: int) -> EncoderPreset:
    return EncoderPreset("vit", (width,), depth, heads=heads, grid=grid)


def _conv(widths: tuple[int, ...], strides: tuple[int, ...]) -> EncoderPreset:
    return EncoderPreset("conv", widths, len(widths), strides=strides)


def _unet(*widths: int) -> EncoderPreset:
    return EncoderPreset("unet", widths, len(widths) - 1)


ENCODERS: dict[str, EncoderPreset] = {
    "vit_nano": _vit(64, 2, 2, grid=4),
    "vit_tiny": _vit(192, 6, 3, grid=8),
    "vit_small": _vit(384, 12, 6, grid=14),
    "vit_base": _vit(768, 12, 12, grid=14),
    "vit_large": _vit(1024, 24, 16, grid=14),
    "conv_nano": _conv((32, 64, 64, 128, 128), (1, 2, 1, 2, 1)),
    "conv_tiny": _conv((64, 128, 256, 512, 512), (1, 2, 2, 2, 1)),
    "unet_nano": _unet(16, 32, 64),
    "unet_small": _unet(16, 32, 64, 128, 256),
    "unet_paper": _unet(32, 64, 128, 256, 512),
}


def family(encoder: str, key: str = "encoder") -> Family:
    """The family of an encoder name. Raises UserError for one that is no preset, `timm/NAME` or `unet/NAME`."""
    if is_smp(encoder):
        return "unet"
    return "timm" if is_timm(encoder) else preset(encoder, key).family


def is_timm(encoder: str) -> bool:
    """Whether the name is `timm/NAME`. Which names timm knows is checked when the network is built."""
    return encoder.startswith(TIMM_PREFIX) and len(encoder) > len(TIMM_PREFIX)


def is_smp(encoder: str) -> bool:
    """Whether the name is `unet/NAME`. Which names the library knows is checked when the network is built."""
    return encoder.startswith(SMP_PREFIX) and len(encoder) > len(SMP_PREFIX)


def preset(encoder: str, key: str = "encoder") -> EncoderPreset:
    """The preset of that name. Raises UserError for any other name."""
    if encoder not in ENCODERS:
        others = [f"{TIMM_PREFIX}NAME for any network of timm", f"{SMP_PREFIX}NAME for a U-Net around any"]
        raise unknown("encoder", encoder, [*ENCODERS, *others], key)
    return ENCODERS[encoder]


class NamesEncoder(Protocol):
    """What knows its encoder by name: the options of any method."""

    @property
    def encoder_name(self) -> str: ...

    @property
    def own_layers(self) -> tuple[str, ...]: ...


def layer_names(options: NamesEncoder) -> tuple[str, ...] | None:
    """The names of the encoder's layers in order of depth; None for `timm/` and `unet/`, which only torch can ask.

    Features that are no network (`pixels`, `hog`, ...) are understood too: they have one layer, of their own name.
    """
    if options.own_layers:
        return options.own_layers
    if options.encoder_name in ONE_LAYER:
        return (options.encoder_name,)
    if is_timm(options.encoder_name) or is_smp(options.encoder_name):
        return None
    size = preset(options.encoder_name)
    levels = range(1, size.depth + 1)
    if size.family == "vit":
        return tuple(f"block{level}" for level in levels)
    if size.family == "conv":
        return tuple(f"stage{level}" for level in levels)
    return _unet_layers(size.depth)


def _unet_layers(depth: int) -> tuple[str, ...]:
    levels = range(1, depth + 1)
    return (*(f"enc{level}" for level in levels), "bottleneck", *(f"dec{level}" for level in reversed(levels)))


def resolve_layer(options: NamesEncoder, layer: str) -> str:
    """The name of a layer given by name, by place in the depth ("1" is the first), or as "last".

    "last" is the layer a pretraining is usually read at: the last block or stage, the bottleneck of a U-Net. The layers
    of a timm network are not known here: its "last" stays "last", which the encoder understands, and "2" is "stage2".
    Which of a U-Net's layers a `unet/` network has is not known either; they go by name.

    Raises:
        UserError: the encoder has no such layer.
    """
    names = layer_names(options)
    if is_smp(options.encoder_name):
        valid = [*_unet_layers(SMP_LEVELS), "last"]
        if layer not in valid:
            raise unknown(f"layer of {options.encoder_name}", layer, valid)
        return layer
    if names is None:
        return f"stage{layer}" if layer.isdecimal() else layer
    if layer == "last":
        return "bottleneck" if "bottleneck" in names else names[-1]
    if layer.isdecimal() and 1 <= int(layer) <= len(names):
        return names[int(layer) - 1]
    if layer not in names:
        raise unknown(f"layer of {options.encoder_name}", layer, [*names, "last", f"1 to {len(names)}"])
    return layer


def common_divisor_near(height: int, width: int, target: float) -> int:
    """The common divisor of both sides nearest to the target as a ratio, ties to the smaller; pixels."""
    shared = math.gcd(height, width)
    divisors = [side for side in range(1, shared + 1) if shared % side == 0]
    return min(divisors, key=lambda side: abs(math.log(side / target)))


def resolve_patch(encoder: str, patch_size: int | None, height: int, width: int) -> int:
    """The patch side in pixels that a vision transformer preset uses on an image.

    Without a wish: the common divisor of both sides nearest to the short side over the preset's grid (vit_base on
    224 x 224: 16; vit_tiny on 32 x 32: 4; vit_nano on 8 x 8: 2).

    Raises:
        UserError: the wished patch does not divide the image.
    """
    if patch_size is None:
        return common_divisor_near(height, width, min(height, width) / preset(encoder).grid)
    check_patch("patch_size", patch_size, height, width)
    return patch_size


def check_patch(key: str, patch: int, height: int, width: int) -> None:
    """Raises UserError naming both unless the patch divides both sides of the image."""
    if height % patch or width % patch:
        shared = math.gcd(height, width)
        divisors = ", ".join(str(side) for side in range(1, shared + 1) if shared % side == 0)
        raise UserError(f"{key}: {patch} does not divide an image of {height} x {width} pixels; valid: {divisors}")


def check_levels(encoder: str, height: int, width: int) -> None:
    """Raises UserError unless every step of a U-Net halves the image without a rest."""
    step = 2 ** (SMP_LEVELS if is_smp(encoder) else preset(encoder).depth)
    if height % step or width % step:
        raise UserError(
            f"encoder: {encoder} needs sides divisible by {step}, the image is {height} x {width} pixels; "
            f"set data.image_size to {max(step, round(min(height, width) / step) * step)} or take a shallower U-Net"
        )


def check_skip(key: str, encoder: str, skip: bool) -> None:
    """Raises UserError where the U-Net of this name cannot do without its encoder's maps."""
    if not skip and is_smp(encoder):
        raise UserError(f"{key}: false, but the decoder of {encoder!r} always reads its encoder's maps; valid: true")
