"""Partial fine-tuning: the last blocks of an encoder train, everything below is frozen (arXiv 2111.06377, figure 9)."""

from __future__ import annotations

import torch
from timm.models import group_parameters
from torch import nn

from bench.errors import UserError
from bench.methods.encoder import Encoder


def last_blocks(encoder: Encoder, count: int) -> set[str]:
    """Names in the backbone of the parameters of the last blocks.

    What a block is, timm says, as for the layer decay: the final norm goes with the last block, the stem (patch
    embedding, tokens, positions) with none. Of a U-Net, whose features are the bottleneck's, the blocks are the levels
    of its encoder and the bottleneck. Parameters that the features do not depend on are left out.

    Args:
        encoder: on its device, in evaluation mode, its parameters requiring gradients.
        count: number of blocks; 0 for the head alone.

    Raises:
        UserError: there are not as many blocks.
    """
    block_of = _blocks(encoder.backbone)
    used = _used(encoder)
    blocks = sorted({block_of[name] for name in used if name in block_of})
    if count > len(blocks):
        raise UserError(
            f"finetune.last_blocks: {count} is more than the {len(blocks)} blocks of the encoder; "
            f"valid: 0 to {len(blocks)}, or null for the whole encoder"
        )
    last = set(blocks[len(blocks) - count :])
    return {name for name in used if block_of.get(name) in last}


def freeze_below(backbone: nn.Module, trained: set[str]) -> None:
    """Freezes all parameters but the named ones, and the batch statistics and dropout of the modules that hold them."""
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name in trained)
    _settle(backbone)


def shipped_bytes(module: nn.Module) -> int:
    """Bytes of what training changed, in single precision: trained parameters, and the statistics of their norms."""
    parameters = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    norms = [part for part in module.modules() if getattr(part, "running_mean", None) is not None and _trained(part)]
    return 4 * (parameters + sum(norm.running_mean.numel() + norm.running_var.numel() for norm in norms))


def _blocks(backbone: nn.Module) -> dict[str, int]:
    """Number of the block of each parameter, from the bottom; parameters of the stem are in none."""
    if not hasattr(backbone, "group_matcher"):
        raise UserError("finetune.last_blocks: the encoder does not describe its depth; valid: null")
    matcher = backbone.group_matcher(coarse=False)
    layer_of = group_parameters(backbone, matcher, reverse=True)
    bottom = 1 if isinstance(matcher, dict) and "stem" in matcher else 0
    return {name: layer for name, layer in layer_of.items() if layer >= bottom}


def _used(encoder: Encoder) -> list[str]:
    """Names of the backbone's parameters that its features depend on."""
    named = {name: parameter for name, parameter in encoder.backbone.named_parameters() if parameter.requires_grad}
    image = torch.zeros(1, encoder.shape.channels, encoder.shape.height, encoder.shape.width, device=encoder.device)
    with torch.enable_grad():
        gradients = torch.autograd.grad(encoder(image).sum(), list(named.values()), allow_unused=True)
    return [name for name, gradient in zip(named, gradients, strict=True) if gradient is not None]


def _settle(module: nn.Module) -> None:
    """Puts what holds no trained parameter into evaluation mode; what holds some and others is looked into."""
    states = {parameter.requires_grad for parameter in module.parameters()}
    if states == {False}:
        module.eval()
    elif len(states) == 2:
        for child in module.children():
            _settle(child)


def _trained(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
