"""Counted arithmetic against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.data.shape import ImageShape
from bench.methods.encoder import build_encoder
from bench.methods.flops import encoder_flops, flops
from bench.methods.pixels import PixelsEncoder


def encoder(name: str, *shape: int) -> nn.Module:
    return build_encoder(name, ImageShape(*shape), [0.3] * shape[0], [0.2] * shape[0])


def test_a_convolution_and_a_linear_layer() -> None:
    assert flops(lambda: nn.Linear(5, 7)(torch.rand(3, 5))) == 2 * 3 * 5 * 7
    assert flops(lambda: nn.Conv2d(2, 4, 3, padding=1)(torch.rand(1, 2, 8, 6))) == 2 * 4 * 2 * 9 * 48


@pytest.mark.parametrize(
    ("name", "side", "patch", "width", "depth"),
    [("vit_tiny", 32, 4, 192, 6), ("timm/vit_tiny_patch16_224", 224, 16, 192, 12)],
)
def test_a_vision_transformer_is_its_closed_form(name: str, side: int, patch: int, width: int, depth: int) -> None:
    """12 d^2 n + 2 n^2 d multiply-adds a block, and the patch embedding."""
    patches, tokens = (side // patch) ** 2, (side // patch) ** 2 + 1
    blocks = depth * (12 * width**2 * tokens + 2 * tokens**2 * width)
    assert encoder_flops(encoder(name, 3, side, side)) == 2 * (blocks + patches * width * 3 * patch**2)


def test_a_resnet_is_as_published() -> None:
    """1.8 GMACs for ResNet-18 at 224 (He et al., arXiv 1512.03385, table 1)."""
    assert encoder_flops(encoder("timm/resnet18", 3, 224, 224)) / 2 == pytest.approx(1.8e9, rel=0.02)


@pytest.mark.parametrize("name", ["vit_nano", "conv_nano", "unet_nano", "timm/test_resnet"])
def test_the_outline_counts_what_the_network_does_and_leaves_it_alone(name: str) -> None:
    network = encoder(name, 3, 32, 32)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    counted = encoder_flops(network)
    assert network.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())
    assert counted == flops(lambda: network.eval()(torch.rand(1, 3, 32, 32))) > 0


def test_pixels_cost_nothing() -> None:
    assert encoder_flops(PixelsEncoder(ImageShape(1, 8, 8), [0.3], [0.2])) == 0.0


def test_what_needs_real_numbers_is_not_counted() -> None:
    network = encoder("vit_nano", 1, 8, 8)
    network.embed = lambda images, layers: images.sum().item()
    assert encoder_flops(network) is None
