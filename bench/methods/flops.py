"""The arithmetic of a network, counted rather than timed: multiply-adds of matrix products, times two."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.methods.feature_maps import Encoder


def flops(run: Callable[[], object]) -> float:
    """FLOPs of a call: linear layers, convolutions and attention; norms, activations and additions count nothing.

    Tensors on the meta device are counted too, and cost no time.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def encoder_flops(encoder: Encoder, layer: str = "last") -> float | None:
    """FLOPs of an encoder for one image, as far as a layer needs it (multiply-adds times two).

    The encoder is left as it is: what runs is its outline on the meta device, in evaluation mode.

    Returns:
        The count; None for a network that runs on real numbers alone.
    """
    network = outline(encoder).eval()
    image = torch.empty(1, *encoder.shape, device="meta")
    try:
        return flops(lambda: network.embed(image, [layer]))
    except (NotImplementedError, RuntimeError):
        return None


def outline(network: nn.Module) -> nn.Module:
    """A copy of the network without memory for its weights: parameters and buffers are on the meta device."""
    tensors = [*network.parameters(), *network.buffers()]
    return copy.deepcopy(network, {id(tensor): tensor.detach().to("meta") for tensor in tensors})
