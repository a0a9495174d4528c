"""The masked autoencoder against the paper's acceptance tests and plain loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.mae import Decoder, kept, patchify, random_masking, standardise, take, unpatchify
from bench.methods.vit import sincos_positions

COUNT = 5


@given(st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_masking_keeps_exactly_len_keep_and_restores_the_order(patches: int, ratio: float, seed: int) -> None:
    len_keep = max(1, int(patches * (1 - ratio)))
    masking = random_masking(Draws(seed, COUNT).uniform(patches), len_keep)
    assert ((1 - masking.mask).sum(dim=1) == len_keep).all()
    assert (masking.mask.gather(1, masking.ids_keep) == 0).all()
    tokens = torch.arange(COUNT * patches).view(COUNT, patches, 1)
    ids_shuffle = masking.ids_restore.argsort(dim=1)
    assert torch.equal(take(take(tokens, ids_shuffle), masking.ids_restore), tokens)
    assert torch.equal(take(tokens, ids_shuffle)[:, :len_keep], take(tokens, masking.ids_keep))


def test_every_patch_is_kept_equally_often() -> None:
    masking = random_masking(Draws(0, 20_000).uniform(16), 4)
    torch.testing.assert_close((1 - masking.mask).mean(dim=0), torch.full((16,), 0.25), atol=0.015, rtol=0)


@pytest.mark.parametrize(("patches", "ratio", "count"), [(196, 0.75, 49), (196, 0.9, 19), (16, 0.5, 8), (10, 0.9, 1)])
def test_len_keep(patches: int, ratio: float, count: int) -> None:
    assert kept(patches, ratio) == count


@pytest.mark.parametrize("ratio", [0.95, 1e-8])
def test_a_ratio_that_leaves_nothing_to_see_or_to_predict_is_an_error(ratio: float) -> None:
    with pytest.raises(UserError, match=r"mae\.mask_ratio"):
        kept(16, ratio)


def test_patchify_is_channel_last_row_by_row() -> None:
    images = torch.rand(COUNT, 3, 8, 12)
    patches = patchify(images, 4)
    assert patches.shape == (COUNT, 6, 48)
    by_hand = images[0, :, 4:8, 8:12].permute(1, 2, 0).flatten()
    assert torch.equal(patches[0, 5], by_hand)
    assert torch.equal(unpatchify(patches, 4, (2, 3)), images)


def test_standardised_targets_use_the_unbiased_variance() -> None:
    target = torch.rand(COUNT, 4, 12, dtype=torch.float64)
    values = target.numpy()
    expected = (values - values.mean(2, keepdims=True)) / np.sqrt(values.var(2, ddof=1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(standardise(target).numpy(), expected)


def test_positions_encode_the_column_first_and_leave_the_class_token_zero() -> None:
    positions = sincos_positions(8, (2, 3))
    assert positions.shape == (1, 7, 8)
    assert not positions[0, 0].any()
    row, column = 1, 2
    angles = [np.array([1.0, 10000.0**-0.5]) * place for place in (column, row)]
    expected = np.concatenate([wave(angle) for angle in angles for wave in (np.sin, np.cos)])
    np.testing.assert_allclose(positions[0, 1 + row * 3 + column].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("norm_pix", [True, False])
def test_visible_patches_have_no_gradient_through_the_loss(make: Callable[..., Method], norm_pix: bool) -> None:
    method = make("mae", ImageShape(3, 8, 8), norm_pix=norm_pix)
    images, seen = torch.rand(COUNT, 3, 8, 8), []

    def keep(module: torch.nn.Module, arguments: object, predicted: torch.Tensor) -> None:
        predicted.retain_grad()
        seen.append(predicted)

    with method.decoder.register_forward_hook(keep):
        method.loss(images, Draws(3, COUNT))[0].backward()
    mask = _mask_of(method, images)
    gradient = seen[0].grad.abs().sum(dim=2)
    assert (gradient[mask == 0] == 0).all()
    assert (gradient[mask == 1] > 0).all()


def _mask_of(method: Method, images: torch.Tensor) -> torch.Tensor:
    """Which patches are removed, read off the preview: they are grey in the corrupted input."""
    pictures = method.preview(images, Draws(3, COUNT))
    difference = patchify((pictures["corrupted"] - pictures["input"]).abs(), 2).amax(dim=2)
    return (difference > 1e-4).float()


def test_the_encoder_sees_the_visible_patches_alone(make: Callable[..., Method]) -> None:
    method, images = make("mae"), torch.rand(COUNT, 1, 8, 8)
    pixels = method.backbone.normalise(images)
    masking = random_masking(Draws(1, COUNT).uniform(16), method.len_keep)
    latents = method.encode(pixels, masking)
    assert latents.shape == (COUNT, 1 + 8, 64)
    spoilt = unpatchify(patchify(pixels, 2) + 100 * masking.mask.unsqueeze(2), 2, (4, 4))
    assert torch.equal(method.encode(spoilt, masking), latents)


def test_all_patches_visible_is_the_encoder_itself(make: Callable[..., Method]) -> None:
    method, images = make("mae").eval(), torch.rand(COUNT, 1, 8, 8)
    everything = random_masking(torch.arange(16.0).expand(COUNT, -1), 16)
    latents = method.encode(method.backbone.normalise(images), everything)
    last = method.encoder().forward_layers(images, ["last"])["last"]
    torch.testing.assert_close(latents[:, 1:], last.flatten(2).transpose(1, 2))


def test_the_reconstruction_keeps_what_was_visible(make: Callable[..., Method]) -> None:
    method, images = make("mae"), torch.rand(COUNT, 1, 8, 8)
    mask = _mask_of(method, images)
    assert (mask.sum(dim=1) == 8).all()
    pictures = method.preview(images, Draws(3, COUNT))
    off = patchify((pictures["reconstruction"] - pictures["input"]).abs(), 2).amax(dim=2)
    assert (off[mask == 0] < 1e-5).all()
    assert (off[mask == 1] > 1e-5).all()


def test_the_decoder_puts_every_latent_in_its_place() -> None:
    decoder = Decoder(inputs=4, width=8, depth=1, heads=2, grid=(2, 3), outputs=5)
    decoder.blocks = torch.nn.Identity()
    latents = torch.randn(COUNT, 1 + 2, 4)
    masking = random_masking(Draws(0, COUNT).uniform(6), 2)
    predicted = decoder(latents, masking.ids_restore)
    assert predicted.shape == (COUNT, 6, 5)
    for sample in range(COUNT):
        visible = masking.ids_keep[sample].tolist()
        for patch in range(6):
            known = decoder.embed(latents[sample, 1 + visible.index(patch)]) if patch in visible else decoder.mask_token
            expected = decoder.predict(decoder.norm(known.view(-1) + decoder.positions[0, 1 + patch]))
            torch.testing.assert_close(predicted[sample, patch], expected)


@pytest.mark.parametrize("norm_pix", [True, False])
def test_the_loss_is_the_mean_square_over_removed_patches(make: Callable[..., Method], norm_pix: bool) -> None:
    """Against a plain loop over samples and patches."""
    method, images = make("mae", ImageShape(3, 8, 8), norm_pix=norm_pix), torch.rand(COUNT, 3, 8, 8)
    seen: list[torch.Tensor] = []
    with method.decoder.register_forward_hook(lambda module, arguments, predicted: seen.append(predicted.detach())):
        loss = method.loss(images, Draws(3, COUNT))[0].item()
    mask = _mask_of(method, images)
    errors = []
    for sample in range(COUNT):
        for patch in range(16):
            if mask[sample, patch]:
                row, column = 2 * (patch // 4), 2 * (patch % 4)
                target = images[sample, :, row : row + 2, column : column + 2].permute(1, 2, 0).flatten().double()
                target = (target - 0.3) / 0.2
                if norm_pix:
                    target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
                errors.append((seen[0][sample, patch] - target).square().mean().item())
    assert len(errors) == COUNT * 8
    assert loss == pytest.approx(np.mean(errors), rel=1e-5)
