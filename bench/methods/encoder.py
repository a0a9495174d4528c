"""Encoders by name: built for an image shape, saved as safetensors beside a JSON card, rebuilt from the card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.feature_maps import Encoder, LayerInfo
from bench.references import References
from bench.study.encoders import (
    SMP_PREFIX,
    TIMM_PREFIX,
    check_levels,
    check_skip,
    family,
    is_smp,
    preset,
    resolve_patch,
)

__all__ = ["FAMILIES", "Encoder", "LayerInfo", "build_encoder", "load_encoder", "save_encoder"]

CARD_FORMAT = 1
WEIGHTS, CARD = "encoder.safetensors", "card.json"

FAMILIES: References[type[Encoder]] = References(
    {
        "vit": "bench.methods.vit:VitEncoder",
        "conv": "bench.methods.conv:ConvEncoder",
        "unet": "bench.methods.unet:UnetEncoder",
        "unet_smp": "bench.methods.smp_unet:SmpUnetEncoder",
        "timm": "bench.methods.timm_encoder:TimmEncoder",
        "pixels": "bench.methods.pixels:PixelsEncoder",
        "hog": "bench.methods.hog:HogEncoder",
        "pca_pixels": "bench.methods.pca_pixels:PcaEncoder",
        "kmeans_patches": "bench.methods.kmeans_patches:KmeansEncoder",
        "cascade": "bench.methods.cascade:CascadeEncoder",
    }
)


def build_encoder(
    name: str,
    shape: ImageShape,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    patch_size: int | None = None,
    skip: bool = True,
) -> Encoder:
    """A freshly initialised encoder (from torch's global generator: seed and fork around it).

    Args:
        name: a preset, timm/NAME or unet/NAME.
        shape: of the images.
        mean: of the train pool, one per channel, in [0, 1] units.
        std: of the train pool, one per channel, in [0, 1] units.
        patch_size: of a vision transformer, in pixels; None: by the size of the image.
        skip: whether a U-Net's decoder reads its encoder's maps.

    Raises:
        UserError: no such encoder, or one that does not fit the image.
    """
    kind = "unet_smp" if is_smp(name) else family(name)
    return FAMILIES[kind](shape, mean, std, **_sizes(kind, name, shape, patch_size, skip))


def _sizes(kind: str, name: str, shape: ImageShape, patch_size: int | None, skip: bool) -> dict[str, Any]:
    """The preset in the builder's arguments, checked against the image."""
    if kind == "timm":
        return {"name": name.removeprefix(TIMM_PREFIX), "patch_size": patch_size}
    if kind == "unet_smp":
        check_levels(name, shape.height, shape.width)
        check_skip("skip", name, skip)
        return {"name": name.removeprefix(SMP_PREFIX)}
    size = preset(name)
    if kind == "vit":
        patch = resolve_patch(name, patch_size, shape.height, shape.width)
        return {"width": size.widths[0], "depth": size.depth, "heads": size.heads, "patch_size": patch}
    if kind == "unet":
        check_levels(name, shape.height, shape.width)
        return {"widths": size.widths, "skip": skip}
    return {"widths": size.widths, "strides": size.strides}


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Writes `encoder.safetensors` (the backbone's weights) and `card.json` into the folder.

    Where the network is one of timm's, the card's "timm" entry holds the arguments with which `timm.create_model(
    **arguments, checkpoint_path=".../encoder.safetensors")` loads the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.backbone.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    (folder / CARD).write_text(json.dumps(_card(encoder), indent=1) + "\n")


def _card(encoder: Encoder) -> dict[str, Any]:
    return {
        "format": CARD_FORMAT,
        "family": FAMILIES.named(type(encoder)),
        "shape": encoder.shape._asdict(),
        "mean": encoder.mean.flatten().tolist(),
        "std": encoder.std.flatten().tolist(),
        "arguments": encoder.arguments,
        "layers": {name: info._asdict() for name, info in encoder.layers.items()},
        "default_layer": encoder.default_layer,
        "parameters": sum(parameter.numel() for parameter in encoder.backbone.parameters()),
        "timm": encoder.timm_arguments(),
    }


def load_encoder(folder: Path) -> Encoder:
    """The encoder that `save_encoder` wrote, bit for bit, in evaluation mode on the CPU. Nothing is unpickled.

    Raises:
        UserError: the folder holds no encoder, one of a newer format, or one whose card or weights are damaged.
    """
    if not (folder / CARD).is_file() or not (folder / WEIGHTS).is_file():
        raise UserError(f"{str(folder)!r} holds no encoder: {CARD} and {WEIGHTS} are expected")
    try:
        return _load(folder)
    except UserError:
        raise
    except Exception as error:  # what a damaged card makes a constructor or a loader say has many types
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{str(folder)!r} holds an encoder whose {CARD} or {WEIGHTS} is damaged ({said})") from error


def _load(folder: Path) -> Encoder:
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    if card["format"] > CARD_FORMAT:
        raise UserError(
            f"{str(folder)!r} holds an encoder of format {card['format']}; this version reads {CARD_FORMAT}"
        )
    with torch.random.fork_rng(devices=[]):  # initialised once more, and overwritten
        encoder = FAMILIES[card["family"]](ImageShape(**card["shape"]), card["mean"], card["std"], **card["arguments"])
    encoder.backbone.load_state_dict(load_file(folder / WEIGHTS))
    return encoder.eval()
