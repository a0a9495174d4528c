"""The masked autoencoder against the independent implementation in transformers, weights and noise copied over."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.data.augment import augment
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.patches import patchify, take
from bench.methods.registry import build_method
from bench.study.methods import METHODS

transformers = pytest.importorskip("transformers")

COUNT, SIDE, PATCH = 4, 24, 4
LINEAR = {"attn.proj": "attention.o_proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
          "norm1": "layernorm_before", "norm2": "layernorm_after"}  # fmt: skip


@pytest.mark.parametrize("norm_pix", [True, False])
@pytest.mark.parametrize("mask_ratio", [0.75, 0.4])
def test_latents_predictions_and_loss_are_those_of_transformers(norm_pix: bool, mask_ratio: float) -> None:
    options = METHODS["mae"](
        patch_size=PATCH, mask_ratio=mask_ratio, norm_pix=norm_pix, decoder_width=48, decoder_depth=2, decoder_heads=4
    )
    ours = build_method("mae", options, ImageShape(3, SIDE, SIDE), [0.3, 0.4, 0.5], [0.2, 0.3, 0.4], seed=0)
    _shake(ours)
    theirs = _oracle(ours, mask_ratio, norm_pix)
    images = torch.rand(COUNT, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    draws = Draws(5, COUNT)
    pixels = ours.backbone.normalise(augment(images, ours.policy, draws))
    noise = draws.uniform((SIDE // PATCH) ** 2)
    with torch.no_grad():
        expected = theirs(pixel_values=pixels, noise=noise)
        hidden = theirs.vit(pixels, noise=noise).last_hidden_state
        loss = ours.loss(images, Draws(5, COUNT))[0]
        masking = ours.sampler(_Fixed(noise), ours.vit.grid, ours.len_keep)
        latents = ours.encode(patchify(pixels, PATCH), masking)
        predicted = ours.decoder(latents, *masking)
    close = {"rtol": 0, "atol": 1e-4}
    assert expected.mask.gather(1, masking.ids_removed).all()
    assert torch.equal(expected.ids_restore, masking.ids_restore)
    torch.testing.assert_close(latents, hidden, **close)
    torch.testing.assert_close(predicted, take(expected.logits, masking.ids_removed), **close)
    torch.testing.assert_close(loss, expected.loss, **close)


class _Fixed(Draws):
    """Draws of given numbers."""

    def __init__(self, numbers: Tensor) -> None:
        super().__init__(0, len(numbers))
        self.numbers = numbers

    def uniform(self, *shape: int) -> Tensor:
        assert self.numbers.shape[1:] == shape
        return self.numbers


def _shake(method: Method) -> None:
    """Moves every weight off its initial value, so that no bias or norm is copied in vain."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def _oracle(ours: Method, mask_ratio: float, norm_pix: bool) -> nn.Module:
    """A ViTMAEForPreTraining of the same shape and weights."""
    network, decoder = ours.backbone.backbone, ours.decoder
    config = transformers.ViTMAEConfig(
        hidden_size=network.embed_dim, num_hidden_layers=len(network.blocks), intermediate_size=4 * network.embed_dim,
        num_attention_heads=network.blocks[0].attn.num_heads, layer_norm_eps=1e-6, image_size=SIDE, patch_size=PATCH,
        decoder_hidden_size=48, decoder_num_hidden_layers=2, decoder_num_attention_heads=4,
        decoder_intermediate_size=192, mask_ratio=mask_ratio, norm_pix_loss=norm_pix,
    )  # fmt: skip
    theirs = transformers.ViTMAEForPreTraining(config).eval()
    state = {
        "vit.embeddings.cls_token": network.cls_token,
        "vit.embeddings.position_embeddings": network.pos_embed,
        "decoder.mask_token": decoder.mask_token,
        "decoder.decoder_pos_embed": decoder.positions,
        **_renamed(network.patch_embed.proj, "vit.embeddings.patch_embeddings.projection"),
        **_renamed(network.norm, "vit.layernorm"),
        **_renamed(decoder.embed, "decoder.decoder_embed"),
        **_renamed(decoder.norm, "decoder.decoder_norm"),
        **_renamed(decoder.predict, "decoder.decoder_pred"),
    }
    for blocks, prefix in ((network.blocks, "vit.layers"), (decoder.blocks, "decoder.decoder_layers")):
        for number, block in enumerate(blocks):
            state |= _block(block, f"{prefix}.{number}")
    theirs.load_state_dict(state, strict=True)
    return theirs


def _renamed(module: nn.Module, name: str) -> dict[str, Tensor]:
    return {f"{name}.{key}": value for key, value in module.state_dict().items()}


def _block(block: nn.Module, name: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for ours, theirs in LINEAR.items():
        state |= _renamed(block.get_submodule(ours), f"{name}.{theirs}")
    for key, value in block.attn.qkv.state_dict().items():
        for part, third in zip("qkv", value.chunk(3), strict=True):
            state[f"{name}.attention.{part}_proj.{key}"] = third
    return state
