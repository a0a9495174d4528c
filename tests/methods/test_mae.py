"""The masked autoencoder against the paper's acceptance tests and plain loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.draws import Draws
from bench.data.policies import POLICIES
from bench.data.shape import ImageShape
from bench.methods.base import Method
from bench.methods.flops import flops
from bench.methods.mae import Decoder, Mae, standardise
from bench.methods.masking import Masking, random_masking
from bench.methods.patches import patchify, take, unpatchify
from bench.methods.vit import sincos_positions
from bench.study.methods import MaeOptions

COUNT = 5
Make = Callable[..., Method]


@given(st.integers(1, 13), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_unpatchify_undoes_patchify(channels: int, rows: int, columns: int, patch: int) -> None:
    images = torch.rand(2, channels, rows * patch, columns * patch)
    patches = patchify(images, patch)
    assert patches.shape == (2, rows * columns, patch * patch * channels)
    assert torch.equal(unpatchify(patches, patch, (rows, columns)), images)


def test_patchify_is_channel_last_row_by_row() -> None:
    images = torch.rand(COUNT, 3, 8, 12)
    by_hand = images[0, :, 4:8, 8:12].permute(1, 2, 0).flatten()
    assert torch.equal(patchify(images, 4)[0, 5], by_hand)


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


@settings(max_examples=15, deadline=None)
@given(
    shape=st.builds(ImageShape, st.integers(1, 13), st.integers(2, 5).map(lambda n: 4 * n), st.just(16)),
    sampling=st.sampled_from(["random", "block"]),
    ratio=st.sampled_from([0.3, 0.75, 0.85]),
    norm_pix=st.booleans(),
    mask_tokens=st.booleans(),
    decoded=st.sampled_from([0.25, 1.0]),
)
def test_any_image_of_1_to_13_channels_has_a_finite_loss_on_every_axis(
    shape: ImageShape, sampling: str, ratio: float, norm_pix: bool, mask_tokens: bool, decoded: float
) -> None:
    options = MaeOptions(
        patch_size=4, sampling=sampling, mask_ratio=ratio, norm_pix=norm_pix, decoded=decoded, augmentation="crop",
        mask_tokens_in_encoder=mask_tokens,
    )  # fmt: skip
    method = Mae(options, shape, [0.3] * shape.channels, [0.2] * shape.channels)
    images = torch.rand(3, *shape)
    assert torch.isfinite(method.loss(images, Draws(1, 3))[0])
    assert all(picture.shape == images.shape for picture in method.preview(images, Draws(1, 3)).values())


@pytest.mark.parametrize("options", [{"mask_tokens_in_encoder": True, "sampling": "block"}, {"decoded": 0.5}])
def test_every_parameter_learns_and_bf16_is_close(make: Make, options: dict[str, object]) -> None:
    method, images = make("mae", **options), torch.rand(COUNT, 1, 8, 8)
    loss, _ = method.loss(images, Draws(3, COUNT))
    loss.backward()
    trainable = {name: parameter for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert [name for name, parameter in trainable.items() if parameter.grad is None] == []
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = method.loss(images, Draws(3, COUNT))
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(loss.item(), rel=0.02)


@pytest.mark.parametrize("norm_pix", [True, False])
def test_visible_patches_have_no_gradient_through_the_loss(make: Make, norm_pix: bool) -> None:
    """The decoder's output at every place: none but the removed ones enter the loss."""
    method = make("mae", ImageShape(3, 8, 8), norm_pix=norm_pix)
    images, seen = torch.rand(COUNT, 3, 8, 8), []

    def keep(module: torch.nn.Module, arguments: object, tokens: torch.Tensor) -> None:
        tokens.retain_grad()
        seen.append(tokens)

    with method.decoder.blocks.register_forward_hook(keep):
        method.loss(images, Draws(3, COUNT))[0].backward()
    gradient = seen[0].grad.abs().sum(dim=2)
    masking = masking_of(method, images)
    assert gradient.shape == (COUNT, 1 + 16)
    assert (gradient[:, : 1 + masking.ids_keep.shape[1]] == 0).all()
    assert (gradient[:, 1 + masking.ids_keep.shape[1] :] > 0).all()


def masking_of(method: Method, images: torch.Tensor) -> Masking:
    """Which patches are removed, read off the preview: they are grey in the corrupted input."""
    pictures = method.preview(images, Draws(3, COUNT))
    difference = patchify((pictures["corrupted"] - pictures["input"]).abs(), 2).amax(dim=2)
    removed = difference > 1e-4
    assert (removed.sum(dim=1) == removed[0].sum()).all()
    return random_masking(removed.float(), int((~removed[0]).sum()))


def test_the_encoder_sees_the_visible_patches_alone(make: Make) -> None:
    method, images = make("mae"), torch.rand(COUNT, 1, 8, 8)
    patches = patchify(method.backbone.normalise(images), 2)
    masking = random_masking(Draws(1, COUNT).uniform(16), method.len_keep)
    latents = method.encode(patches, masking)
    assert latents.shape == (COUNT, 1 + 8, 64)
    spoilt = patches.scatter(1, masking.ids_removed.unsqueeze(2).expand(-1, -1, 4), 100.0)
    assert torch.equal(method.encode(spoilt, masking), latents)


def test_mask_tokens_in_the_encoder_stand_in_for_what_it_does_not_see(make: Make) -> None:
    method, images = make("mae", mask_tokens_in_encoder=True), torch.rand(COUNT, 1, 8, 8)
    patches = patchify(method.backbone.normalise(images), 2)
    masking = random_masking(Draws(1, COUNT).uniform(16), method.len_keep)
    latents = method.encode(patches, masking)
    assert latents.shape == (COUNT, 1 + 16, 64)
    spoilt = patches.scatter(1, masking.ids_removed.unsqueeze(2).expand(-1, -1, 4), 100.0)
    assert torch.equal(method.encode(spoilt, masking), latents)
    # by hand: the whole image, with the token in place of the removed patches' embedding
    network, removed = method.backbone.backbone, torch.zeros(COUNT, 16, 1).scatter(1, masking.ids_removed[..., None], 1)
    tokens = network.patch_embed(method.backbone.normalise(images)) * (1 - removed) + method.mask_token * removed
    expected = network.norm(network.blocks(network._pos_embed(tokens)))
    torch.testing.assert_close(take(latents[:, 1:], masking.ids_restore), expected[:, 1:])
    names = {name for name, _ in method.named_parameters() if name.endswith("mask_token")}
    assert names == {"mask_token"}
    assert make("mae").mask_token is None


def test_all_patches_visible_is_the_encoder_itself(make: Make) -> None:
    method, images = make("mae").eval(), torch.rand(COUNT, 1, 8, 8)
    everything = random_masking(torch.arange(16.0).expand(COUNT, -1), 16)
    latents = method.encode(patchify(method.backbone.normalise(images), 2), everything)
    last = method.encoder().forward_layers(images, ["last"])["last"]
    torch.testing.assert_close(latents[:, 1:], last.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("options", [{}, {"mask_tokens_in_encoder": True}, {"sampling": "block"}, {"decoded": 0.5}])
def test_the_reconstruction_keeps_what_was_visible(make: Make, options: dict[str, object]) -> None:
    method, images = make("mae", **options), torch.rand(COUNT, 1, 8, 8)
    masking = masking_of(method, images)
    assert masking.ids_removed.shape == (COUNT, 8)
    pictures = method.preview(images, Draws(3, COUNT))
    off = patchify((pictures["reconstruction"] - pictures["input"]).abs(), 2).amax(dim=2)
    assert (off.gather(1, masking.ids_keep) < 1e-5).all()
    assert (off.gather(1, masking.ids_removed) > 1e-5).all()


def test_the_decoder_puts_every_latent_in_its_place() -> None:
    decoder = Decoder(inputs=4, width=8, depth=1, heads=2, grid=(2, 3), outputs=5)
    seen: list[torch.Tensor] = []
    latents = torch.randn(COUNT, 1 + 2, 4)
    masking = random_masking(Draws(0, COUNT).uniform(6), 2)
    with decoder.blocks.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0])):
        predicted = decoder(latents, *masking)
    assert predicted.shape == (COUNT, 4, 5)
    for sample in range(COUNT):
        visible, removed = masking.ids_keep[sample].tolist(), masking.ids_removed[sample].tolist()
        expected = [decoder.embed(latents[sample, 0])]
        expected += [decoder.embed(latents[sample, 1 + i]) + decoder.positions[0, 1 + p] for i, p in enumerate(visible)]
        expected += [decoder.mask_token.view(-1) + decoder.positions[0, 1 + patch] for patch in removed]
        torch.testing.assert_close(seen[0][sample], torch.stack(expected))


@pytest.mark.parametrize("norm_pix", [True, False])
def test_the_loss_is_the_mean_square_over_removed_patches(make: Make, norm_pix: bool) -> None:
    """Against a plain loop over samples and patches."""
    method, images = make("mae", ImageShape(3, 8, 8), norm_pix=norm_pix), torch.rand(COUNT, 3, 8, 8)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def keep(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...], predicted: torch.Tensor) -> None:
        seen.append((arguments[2], predicted.detach()))

    with method.decoder.register_forward_hook(keep):
        loss = method.loss(images, Draws(3, COUNT))[0].item()
    ids, predicted = seen[0]
    assert torch.equal(ids.sort(dim=1).values, masking_of(method, images).ids_removed.sort(dim=1).values)
    errors = []
    for sample in range(COUNT):
        for place, patch in enumerate(ids[sample].tolist()):
            row, column = 2 * (patch // 4), 2 * (patch % 4)
            target = images[sample, :, row : row + 2, column : column + 2].permute(1, 2, 0).flatten().double()
            target = (target - 0.3) / 0.2
            if norm_pix:
                target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
            errors.append((predicted[sample, place] - target).square().mean().item())
    assert len(errors) == COUNT * 8
    assert loss == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize("mask_tokens", [False, True])
def test_partial_decoding_is_the_loss_on_a_random_share_of_the_removed(make: Make, mask_tokens: bool) -> None:
    """Half of 8 removed patches: those alone are decoded; another seed decodes others."""
    method, images = make("mae", decoded=0.5, mask_tokens_in_encoder=mask_tokens), torch.rand(COUNT, 1, 8, 8)
    calls: list[tuple[tuple[torch.Tensor, ...], torch.Tensor]] = []
    tokens: list[int] = []
    with (
        method.decoder.register_forward_hook(lambda module, arguments, out: calls.append((arguments, out.detach()))),
        method.decoder.blocks.register_forward_pre_hook(lambda module, given: tokens.append(given[0].shape[1])),
    ):
        loss = method.loss(images, Draws(3, COUNT))[0].item()
        method.loss(images, Draws(4, COUNT))
    (_, ids_keep, ids_decoded), predicted = calls[0]
    assert tokens == [1 + 8 + 4] * 2
    assert ids_decoded.shape == (COUNT, 4)
    assert not (ids_decoded.unsqueeze(2) == ids_keep.unsqueeze(1)).any()
    target = standardise(take(patchify(method.backbone.normalise(images), 2), ids_decoded))
    assert loss == pytest.approx((predicted - target).square().mean().item(), rel=1e-6)
    assert not torch.equal(ids_decoded, calls[1][0][2])


def test_colour_jitter_changes_the_crop_alone() -> None:
    crop, jitter = POLICIES["crop"], POLICIES["crop_jitter"]
    assert (jitter.area, jitter.aspect, jitter.flip) == (crop.area, crop.aspect, crop.flip)
    assert jitter.jitter > 0
    assert not crop.jitter


def test_mask_tokens_in_the_encoder_cost_four_times_the_encoder_of_a_large_network() -> None:
    """The paper's table 1c (3.3x) and the arithmetic behind it: ViT-L/16 at 224, 75 %, decoder of 8 x 512."""
    without, with_tokens = (_large_flops(mask_tokens) for mask_tokens in (False, True))
    assert with_tokens[0] / without[0] == pytest.approx(4.0, abs=0.05)
    assert sum(with_tokens) / sum(without) == pytest.approx(3.2, abs=0.05)
    assert sum(with_tokens) / 2 == pytest.approx(67.0e9, rel=0.01)
    assert sum(without) / 2 == pytest.approx(20.8e9, rel=0.01)


def _large_flops(mask_tokens: bool) -> tuple[float, float]:
    """Of the encoder's and the decoder's blocks, for one image."""
    options = MaeOptions(
        encoder="vit_large", decoder_width=512, decoder_depth=8, decoder_heads=16, mask_tokens_in_encoder=mask_tokens
    )
    with torch.device("meta"), torch.no_grad():
        method = Mae(options, ImageShape(3, 224, 224), [0.5] * 3, [0.2] * 3)
        masking = Masking(torch.empty(1, 49, dtype=torch.int64), torch.empty(1, 147, dtype=torch.int64))
        patches = torch.empty(1, 196, 768)
        latents = method.encode(patches, masking)
        encoder = flops(lambda: method.encode(patches, masking))
        return encoder, flops(lambda: method.decoder(latents, *masking))
