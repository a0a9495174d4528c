"""Freezing the first blocks of an encoder: up to a layer nothing changes, behind it everything trains."""

from __future__ import annotations

import torch

from bench.errors import UserError
from bench.methods.encoder import Encoder
from bench.protocols.partial import freeze_below
from bench.protocols.pyramid import trunk


def freeze_first(encoder: Encoder, count: int) -> None:
    """Freezes what the maps of the first blocks are computed from, batch statistics and dropout included; the rest of
    the encoder trains.

    A block ends where a layer does: enc1 .., bottleneck of a U-Net, stage1 .. of a convolutional network, block1 .. of
    a vision transformer, whose patch embedding and positions go with the first, and the layers that timm names of its
    networks. A norm behind every layer (timm's vision transformers) is frozen with the first.

    Args:
        encoder: in training mode.
        count: number of blocks.

    Raises:
        UserError: nothing is left to train, or the network does not say where its blocks end.
    """
    layers = trunk(encoder)
    if count >= len(layers):
        raise UserError(
            f"frozen_blocks: {count} leaves nothing of the {len(layers)} blocks of the encoder "
            f"({', '.join(layers)}) to train; {_valid(len(layers))}"
        )
    encoder.requires_grad_(True)
    kept, used = _behind(encoder, layers[count - 1]), _behind(encoder, layers[-1])
    freeze_below(encoder.backbone, used - kept)


def _behind(encoder: Encoder, layer: str) -> set[str]:
    """Names of the backbone's parameters that the map of a layer depends on."""
    named = dict(encoder.backbone.named_parameters())
    trains, shape = encoder.training, encoder.shape
    image = torch.zeros(1, shape.channels, shape.height, shape.width, device=encoder.device)
    with torch.enable_grad():
        total = encoder.eval().forward_layers(image, [layer])[layer].sum()  # so that no batch statistic moves
        gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    encoder.train(trains)
    return {name for name, gradient in zip(named, gradients, strict=True) if gradient is not None}


def _valid(blocks: int) -> str:
    return f"valid: 1 to {blocks - 1}" if blocks > 1 else "valid here: encoder_state frozen or trained"
