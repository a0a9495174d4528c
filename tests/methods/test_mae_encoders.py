"""The masked autoencoder on vision transformers of timm, and what it says to networks it cannot use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.base import Method
from bench.methods.encoder import load_encoder, save_encoder
from bench.methods.masking import random_masking
from bench.methods.patches import patchify

Make = Callable[..., Method]
COUNT, SHAPE = 3, ImageShape(5, 32, 48)
# tokens before the patches: of class, register alone, class and distillation, class and registers, class behind a norm
# before the blocks, none
NETWORKS = {
    "timm/test_vit": 1,
    "timm/test_vit2": 1,
    "timm/deit_tiny_distilled_patch16_224": 2,
    "timm/vit_small_patch14_reg4_dinov2": 5,
    "timm/vit_xsmall_patch16_clip_224": 1,
    "timm/vit_medium_patch16_gap_240": 0,
}


@pytest.fixture
def pretrained(make: Make, request: pytest.FixtureRequest) -> Method:
    method = make("mae", SHAPE, encoder=request.param, patch_size=8, mask_ratio=0.75)
    with torch.no_grad():  # class and register tokens start at about nothing
        for parameter in method.backbone.parameters():
            parameter += 0.02
    return method.eval()


@pytest.mark.parametrize(("pretrained", "prefix"), NETWORKS.items(), ids=list(NETWORKS), indirect=["pretrained"])
def test_with_all_patches_visible_the_latents_are_the_networks_own(pretrained: Method, prefix: int) -> None:
    pixels = pretrained.double().backbone.normalise(torch.rand(COUNT, *SHAPE, dtype=torch.float64))
    everything = random_masking(torch.arange(24.0).expand(COUNT, -1), 24)
    with torch.no_grad():
        latents = pretrained.encode(patchify(pixels, 8), everything)
        expected = pretrained.backbone.backbone.forward_features(pixels)
    assert latents.shape == (COUNT, prefix + 24, pretrained.vit.width)
    torch.testing.assert_close(latents, expected)


@pytest.mark.parametrize("pretrained", ["timm/test_vit", "timm/test_vit3"], indirect=True)
def test_a_timm_network_learns_and_is_saved_as_any_other(pretrained: Method, tmp_path: Path) -> None:
    images = torch.rand(COUNT, *SHAPE)
    loss, _ = pretrained.loss(images, Draws(1, COUNT))
    loss.backward()
    blocks = pretrained.backbone.backbone.blocks
    assert torch.isfinite(loss)
    assert all(parameter.grad.abs().sum() > 0 for parameter in blocks[0].parameters() if parameter.requires_grad)
    assert all(picture.shape == images.shape for picture in pretrained.preview(images, Draws(1, COUNT)).values())
    save_encoder(pretrained.encoder(), tmp_path)
    assert torch.equal(load_encoder(tmp_path)(images), pretrained.encoder()(images))


def test_positions_that_are_learned_are_trained(make: Make) -> None:
    method = make("mae", SHAPE, encoder="timm/test_vit", patch_size=8)
    method.loss(torch.rand(COUNT, *SHAPE), Draws(1, COUNT))[0].backward()
    assert method.backbone.backbone.pos_embed.grad.abs().sum() > 0
    assert not make("mae").backbone.backbone.pos_embed.requires_grad


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"encoder": "timm/test_resnet"},
            r"mae\.encoder: 'timm/test_resnet' \(ResNet\) is no plain vision transformer",
        ),
        ({"encoder": "timm/beit_base_patch16_224"}, r"'timm/beit_base_patch16_224' \(Beit\)"),
        ({"encoder": "timm/test_vit"}, r"patch_size: 16 does not divide an image of 8 x 8 pixels; valid: 1, 2, 4, 8"),
        ({"encoder": "timm/test_vit", "patch_size": 3}, "3 does not divide"),
        ({"encoder": "timm/no_such_vit"}, "unknown timm network 'no_such_vit'"),
        ({"patch_size": 3}, "3 does not divide"),
        ({"patch_size": 8, "mask_ratio": 0.5}, r"mae\.mask_ratio: 0\.5 keeps 0 of 1"),
        ({"patch_size": 1}, r"mae\.norm_pix: a patch of one value"),
        ({"sampling": "grid", "mask_ratio": 0.75, "patch_size": 8}, r"mae\.sampling: 'grid'.*1 x 1"),
        ({"augmentation": "cropp"}, "did you mean 'crop'"),
    ],
)
def test_what_does_not_fit_is_an_error_in_one_line(make: Make, options: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        make("mae", ImageShape(1, 8, 8), **options)
    assert "\n" not in str(error.value)


def test_a_network_that_looks_beyond_a_patch_before_its_blocks_is_no_plain_one(make: Make) -> None:
    """A convolutional stem would show the encoder what was removed."""
    with pytest.raises(UserError, match=r"'timm/vit_tiny_r_s16_p8_224' \(VisionTransformer\) is no plain"):
        make("mae", ImageShape(3, 128, 128), encoder="timm/vit_tiny_r_s16_p8_224")
