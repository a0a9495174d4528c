from __future__ import annotations

import pytest
import torch

from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.attention import (
    block_tokens,
    check_class_token,
    cls_attention,
    is_transformer,
    last_attention,
    last_tokens,
    pooled,
)
from bench.methods.encoder import Encoder, build_encoder

SHAPE = ImageShape(3, 32, 48)
VITS = ["vit_nano", "timm/test_vit", "timm/test_vit2", "timm/test_vit3", "timm/test_vit4"]


def encoder_of(name: str, shape: ImageShape = SHAPE) -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch = 8 if name == "vit_nano" else None
        channels = shape.channels
        return build_encoder(name, shape, [0.4] * channels, [0.2] * channels, patch_size=patch).eval()


def pictures(*size: int) -> torch.Tensor:
    return torch.rand(3, 3, *size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", VITS)
@torch.no_grad()
def test_probabilities_from_q_and_k_reproduce_the_last_block(name: str) -> None:
    encoder, images = encoder_of(name), pictures(32, 48)
    seen: dict[str, torch.Tensor] = {}
    last = encoder.backbone.blocks[-1]
    hook = last.attn.register_forward_hook(lambda module, entered, left: seen.update(attention=left))
    encoder.forward_layers(images)
    hook.remove()
    attention = last_attention(encoder, images)
    probabilities = attention.probabilities()
    torch.testing.assert_close(probabilities.sum(dim=-1), torch.ones(probabilities.shape[:-1]))
    mixed = (probabilities @ attention.v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(last.attn.proj(last.attn.norm(mixed)), seen["attention"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", VITS)
@torch.no_grad()
def test_tokens_are_those_of_the_network_itself(name: str) -> None:
    encoder, images = encoder_of(name), pictures(32, 48)
    backbone = encoder.backbone
    expected = backbone.forward_features(encoder.normalise(images))
    patches = expected[:, backbone.num_prefix_tokens :]
    tokens = last_tokens(encoder, images)
    torch.testing.assert_close(tokens.patches, patches, rtol=1e-5, atol=1e-5)
    if backbone.cls_token is not None:
        torch.testing.assert_close(tokens.cls, expected[:, 0], rtol=1e-5, atol=1e-5)
    blocks = block_tokens(encoder, images)
    assert len(blocks) == len(backbone.blocks)
    torch.testing.assert_close(blocks[-1][:, -patches.shape[1] :], patches, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(pooled(encoder, images), encoder(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["vit_nano", "timm/test_vit", "timm/test_vit2"])
@torch.no_grad()
def test_smaller_images_pass_and_positions_are_interpolated_as_timm_does(name: str) -> None:
    encoder, images = encoder_of(name, ImageShape(3, 64, 64)), pictures(32, 32)
    patch = encoder.backbone.patch_embed.patch_size[0]
    got = last_tokens(encoder, images).patches
    assert got.shape == (3, (32 // patch) ** 2, encoder.layers[encoder.default_layer].channels)
    encoder.backbone.set_input_size(img_size=(32, 32))  # resamples the positions for good
    expected = encoder.backbone.forward_features(encoder.normalise(images))[:, encoder.backbone.num_prefix_tokens :]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_attention_of_the_class_token_is_a_map_per_head() -> None:
    encoder, images = encoder_of("timm/test_vit"), pictures(32, 48)
    attention = cls_attention(encoder, images)
    heads = encoder.backbone.blocks[-1].attn.num_heads
    assert attention.shape == (3, heads, 2, 3)
    beside = last_attention(encoder, images).probabilities()[:, :, 0, 0]
    torch.testing.assert_close(attention.sum(dim=(2, 3)) + beside, torch.ones(3, heads))


def test_what_has_no_class_token_is_refused_by_name() -> None:
    check_class_token(encoder_of("vit_nano"), "dino.encoder", "vit_nano")
    for name in ("conv_nano", "timm/test_resnet", "timm/test_vit2"):
        with pytest.raises(UserError, match=f"dino.encoder: '{name}' has no class token"):
            check_class_token(encoder_of(name), "dino.encoder", name)
    assert not is_transformer(encoder_of("conv_nano"))
