"""Augmentation against torchvision's functions, and the contract of every policy."""

from __future__ import annotations

from dataclasses import fields, replace
from math import radians

import pytest
import torch
from torchvision.transforms import functional as reference
from torchvision.transforms.v2.functional import InterpolationMode

from bench.data.augment import affine_matrix, augment, crop_box, inverse_affine, warp
from bench.data.color import brighten, contrast, gaussian_blur, luma, saturate, solarize, turn_hue
from bench.data.draws import Draws
from bench.data.policies import POLICIES, Policy
from bench.errors import UserError

BILINEAR = InterpolationMode.BILINEAR


def batch(count: int = 6, channels: int = 3, height: int = 24, width: int = 24) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", POLICIES)
class TestEveryPolicy:
    def test_keeps_shape_type_and_range(self, policy: str, channels: int) -> None:
        images = batch(channels=channels, height=20, width=28)
        views = augment(images, policy, Draws(0, 6))
        assert views.shape == images.shape
        assert views.dtype == images.dtype
        assert views.min() >= 0
        assert views.max() <= 1 + 1e-6

    def test_samples_do_not_see_each_other(self, policy: str, channels: int) -> None:
        images = batch(channels=channels)
        other = images.clone()
        other[3] = 0.5
        one, two = augment(images, policy, Draws(0, 6)), augment(other, policy, Draws(0, 6))
        kept = [0, 1, 2, 4, 5]
        torch.testing.assert_close(one[kept], two[kept], rtol=0, atol=1e-6)

    def test_two_workers_make_the_views_of_one(self, policy: str, channels: int) -> None:
        images = batch(channels=channels)
        halves = [augment(images[3 * rank : 3 * rank + 3], policy, Draws(0, 6, rank, 2)) for rank in range(2)]
        torch.testing.assert_close(torch.cat(halves), augment(images, policy, Draws(0, 6)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "none"])
def test_policies_change_images_each_in_its_way(policy: str) -> None:
    same = batch(1).expand(64, -1, -1, -1)
    views = augment(same, policy, Draws(0, 64))
    assert len(torch.unique(views.flatten(1), dim=0)) > 32


def test_a_policy_without_strengths_is_exact() -> None:
    images = batch()
    assert augment(images, "none", Draws(0, 6)) is images
    assert augment(images, Policy(), Draws(0, 6)) is images


def test_flips_are_exact() -> None:
    images = batch()
    assert torch.equal(augment(images, Policy(flip=1.0), Draws(0, 6)), images.flip(-1))
    assert torch.equal(augment(images, Policy(flip_vertical=1.0), Draws(0, 6)), images.flip(-2))
    half = augment(batch(400), Policy(flip=0.5), Draws(0, 400))
    changed = (half != batch(400)).flatten(1).any(dim=1).float().mean()
    assert 0.4 < changed < 0.6


def test_turning_a_strength_on_leaves_the_others_as_they_were() -> None:
    images = batch()
    crop = augment(images, "crop", Draws(0, 6))
    both = augment(images, replace(POLICIES["crop"], brightness=0.4, jitter=0.0), Draws(0, 6))
    assert torch.equal(crop, both)


@pytest.mark.parametrize(("left", "top", "width", "height"), [(0, 0, 12, 12), (4, 7, 10, 14), (3, 2, 24 - 3, 24 - 2)])
def test_a_crop_is_torchvisions_but_for_its_rim(left: int, top: int, width: int, height: int) -> None:
    """torchvision cuts before it resizes, so half a pixel at the rim repeats; one resampling reads the neighbours."""
    images = batch(1)
    share_x, share_y = width / 24, height / 24
    center_x, center_y = (2 * left + width) / 24 - 1, (2 * top + height) / 24 - 1
    matrix = torch.tensor([[[share_x, 0, center_x], [0, share_y, center_y]]])
    wanted = reference.resized_crop(images, top, left, height, width, [24, 24], BILINEAR, antialias=False)
    inner = slice(2, -2)
    torch.testing.assert_close(warp(images, matrix)[..., inner, inner], wanted[..., inner, inner], rtol=0, atol=1e-5)


def test_a_crop_of_the_whole_image_is_torchvisions_resize() -> None:
    images = batch(2)
    views = augment(images, "none", Draws(0, 2), size=(40, 31))
    wanted = reference.resize(images, [40, 31], BILINEAR, antialias=False)
    torch.testing.assert_close(views, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(24, 24), (20, 32)])
@pytest.mark.parametrize(
    ("angle", "shift", "zoom", "shear"),
    [(0, (0, 0), 1.0, 0), (90, (0, 0), 1.0, 0), (17, (3, -2), 1.2, 8), (-30, (0, 4), 0.7, -11)],
)
def test_affine_is_torchvisions(
    size: tuple[int, int], angle: float, shift: tuple[int, int], zoom: float, shear: float
) -> None:
    images = batch(1, height=size[0], width=size[1])
    wanted = reference.affine(images, angle, list(shift), zoom, [shear, 0.0], BILINEAR)
    values = (radians(angle), 2 * shift[0] / size[1], 2 * shift[1] / size[0], zoom, radians(shear))
    matrix = inverse_affine(*(torch.tensor([float(value)]) for value in values), width_over_height=size[1] / size[0])
    torch.testing.assert_close(warp(images, matrix, padding="zeros"), wanted, rtol=0, atol=1e-4)


def test_crop_boxes_lie_inside_and_have_the_area_asked_for() -> None:
    numbers = {name: Draws(index, 2000).uniform() for index, name in enumerate(("area", "aspect", "left", "top"))}
    x, y, width, height = crop_box(Policy(area=(0.2, 0.5), aspect=(3 / 4, 4 / 3)), numbers)
    assert (x.abs() + width <= 1 + 1e-6).all()
    assert (y.abs() + height <= 1 + 1e-6).all()
    area, aspect = width * height, width / height
    assert 0.2 - 1e-6 <= area.min() < 0.22
    assert 0.48 < area.max() <= 0.5 + 1e-6
    assert aspect.min() >= 3 / 4 - 1e-4
    assert aspect.max() <= 4 / 3 + 1e-4
    assert abs(aspect.log().mean()) < 0.02


def test_the_default_look_is_the_identity() -> None:
    numbers = {name: torch.rand(3) for name in
               ("area", "aspect", "left", "top", "rotation", "shift_x", "shift_y", "zoom", "shear")}  # fmt: skip
    matrix = affine_matrix(Policy(), numbers, (8, 8))
    torch.testing.assert_close(matrix, torch.eye(2, 3).expand(3, 2, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [0.3, 1.0, 1.6])
def test_brightness_and_contrast_are_torchvisions(channels: int, factor: float) -> None:
    images = batch(channels=channels)
    factors = torch.full((6,), factor)
    close = {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(brighten(images, factors), reference.adjust_brightness(images, factor), **close)
    torch.testing.assert_close(contrast(images, factors), reference.adjust_contrast(images, factor), **close)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.6])
def test_saturation_and_gray_are_torchvisions(factor: float) -> None:
    images = batch()
    ours = saturate(images, torch.full((6,), factor))
    torch.testing.assert_close(ours, reference.adjust_saturation(images, factor), rtol=0, atol=1e-6)
    torch.testing.assert_close(luma(images), reference.rgb_to_grayscale(images), rtol=0, atol=1e-6)


def test_hue_keeps_gray_and_comes_round() -> None:
    images = 0.4 + 0.2 * batch()
    turned = turn_hue(images, torch.full((6,), 0.25))
    back = turn_hue(turned, torch.full((6,), -0.25))
    torch.testing.assert_close(back, images, rtol=0, atol=1e-4)
    assert (turned - images).abs().max() > 0.05
    gray = luma(images).expand(-1, 3, -1, -1)
    torch.testing.assert_close(turn_hue(gray, torch.full((6,), 0.3)), gray, rtol=0, atol=1e-3)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_blur_is_torchvisions(sigma: float) -> None:
    images = batch(height=44, width=50)
    ours = gaussian_blur(images, torch.full((6,), sigma))
    torch.testing.assert_close(ours, reference.gaussian_blur(images, [5, 5], [sigma, sigma]), rtol=0, atol=1e-5)


def test_solarize_is_torchvisions() -> None:
    images = batch()
    assert torch.equal(solarize(images, torch.ones(6, dtype=torch.bool)), reference.solarize(images, 0.5))
    assert torch.equal(solarize(images, torch.zeros(6, dtype=torch.bool)), images)


def test_an_unknown_policy_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown augmentation 'cropp' \(did you mean 'crop'\?\).*simclr"):
        augment(batch(), "cropp", Draws(0, 6))


def test_every_strength_does_something() -> None:
    """A field of the policy that nothing reads would be a lie."""
    strong = {
        "area": (0.3, 0.4), "aspect": (0.5, 0.6), "zoom": (1.5, 1.6), "rotation": 40.0, "shear": 20.0, "shift": 0.3,
        "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.4, "flip": 1.0, "flip_vertical": 1.0,
        "gray": 1.0, "blur": 1.0, "solarize": 1.0,
    }  # fmt: skip
    rest = {"jitter", "sigma", "padding"}
    assert set(strong) | rest == {field.name for field in fields(Policy)}
    images = batch()
    for name, value in strong.items():
        views = augment(images, replace(Policy(jitter=1.0), **{name: value}), Draws(0, 6))
        assert (views - images).abs().amax(dim=(1, 2, 3)).min() > 1e-3, name
