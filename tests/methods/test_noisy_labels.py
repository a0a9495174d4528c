"""Pretraining on noisy masks: losses against libraries, what is learned, measured and left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from segmentation_models_pytorch.losses import DiceLoss
from torch.nn import functional

from bench.data.dense_augment import flip_rotate
from bench.data.draws import Draws
from bench.data.raw import IGNORE
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.methods.dense_losses import confident, cross_entropy, one_hot, smoothed, soft_dice
from bench.methods.noisy_labels import NoisyLabels
from bench.methods.registry import build_method
from bench.study.methods import NoisyLabelsOptions
from bench.training.loop import pretrain

SHAPE = ImageShape(3, 32, 32)


def made(encoder: str = "conv_nano", shape: ImageShape = SHAPE, seed: int = 0, **options: Any) -> NoisyLabels:
    chosen = NoisyLabelsOptions(encoder=encoder, **options)
    method = build_method("noisy_labels", chosen, shape, [0.5] * 3, [0.2] * 3, seed, 4)
    assert isinstance(method, NoisyLabels)
    return method


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [3, 4, 9, 7] and classes [3, 9, 7], some ignored, class 2 never shown."""
    generator = torch.Generator().manual_seed(0)
    target = torch.tensor([0, 1, 3, IGNORE])[torch.randint(0, 4, (3, 9, 7), generator=generator)]
    return torch.randn(3, 4, 9, 7, generator=generator), target


def test_losses_are_those_of_the_libraries(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = batch
    label = one_hot(target, 4)
    expected = functional.cross_entropy(logits, target, ignore_index=IGNORE)
    torch.testing.assert_close(cross_entropy(logits, label, 1), expected)
    torch.testing.assert_close(soft_dice(logits, label, 1), DiceLoss("multiclass", ignore_index=IGNORE)(logits, target))
    nothing = one_hot(torch.full_like(target, IGNORE), 4)
    assert cross_entropy(logits, nothing, 1) == soft_dice(logits, nothing, 1) == 0


def test_smoothed_labels_are_shares_and_follow_what_lies_around() -> None:
    target = torch.zeros(1, 20, 20, dtype=torch.long)
    target[:, :, 10:], target[:, 0, 0], target[:, 5, 3] = 1, IGNORE, 2
    soft = smoothed(one_hot(target, 3))
    torch.testing.assert_close(soft.sum(1), (target != IGNORE).float())
    assert soft[0, 0, 10, 0] == pytest.approx(0.8 + 0.15 + 0.05 / 3, abs=1e-3)  # deep inside its class
    assert soft[0, 0, 10, 9] == pytest.approx(0.8 + 0.15 / 2 + 0.05 / 3, abs=0.02)  # at the border of another
    assert soft[0, 1, 10, 9] == pytest.approx(0.15 / 2 + 0.05 / 3, abs=0.02)
    assert soft[0, 2, 5, 3] > 0.8  # a lone pixel keeps its label


def test_confidence_selection_keeps_the_same_share_of_every_class(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = batch
    kept = confident(logits, target, 0.5, 1)
    sureness = logits.softmax(1)
    for label in (0, 1, 3):
        among, chosen = target == label, kept == label
        assert chosen.sum() == -(-among.sum() // 2)
        assert sureness[:, label][chosen].min() >= sureness[:, label][among & ~chosen].max()
    assert torch.equal(confident(logits, target, 1.0, 1), target)


def test_the_selection_ramps_from_all_to_half() -> None:
    method = made(handling="confidence_selection")
    found = []
    for step in (0, 20, 40, 99):
        method.begin_step(step, 100, 0)
        found.append(method.kept)
    assert found == [1, 0.75, 0.5, 0.5]
    plain = made()
    plain.begin_step(99, 100, 0)
    assert plain.kept == 1


@pytest.mark.parametrize("size", [(6, 6), (4, 6)])
def test_images_and_masks_move_together(size: tuple[int, int]) -> None:
    images = torch.arange(64 * 24.0).view(64, 1, *size) if size == (4, 6) else torch.arange(64 * 36.0).view(64, 1, 6, 6)
    moved, masks = flip_rotate(images, images[:, 0].long(), Draws(0, 64))
    assert torch.equal(moved[:, 0].long(), masks)
    assert torch.equal(moved.flatten(1).sort().values, images.flatten(1))
    ways = {tuple((each - each.min()).flatten().tolist()) for each in masks}
    assert len(ways) == (8 if size == (6, 6) else 4)


@pytest.mark.parametrize("encoder", ["unet_nano", "unet/resnet18", "vit_nano", "timm/test_resnet", "timm/test_vit"])
def test_any_encoder_gives_logits_of_the_image_s_size(encoder: str) -> None:
    method = made(encoder)
    images, target = torch.rand(2, *SHAPE), torch.randint(0, 4, (2, 32, 32))
    loss, _ = method(images, Draws(0, 2), target)
    loss.backward()
    assert method.head(method.backbone, images).shape == (2, 4, 32, 32)
    trainable = [name for name, parameter in method.named_parameters() if parameter.requires_grad]
    learned = [name for name, parameter in method.named_parameters() if parameter.grad is not None]
    if encoder in ("unet_nano", "unet/resnet18", "vit_nano"):
        assert learned == trainable
    assert any(name.startswith("backbone.") for name in learned)


def squares(count: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Bright squares of three colours on black, uint8 [N, 32, 32, 3], and their classes."""
    numbers = np.random.default_rng(0)
    masks = np.zeros((count, 32, 32), np.uint8)
    for mask in masks:
        for label in (1, 2, 3):
            top, left = numbers.integers(0, 24, 2)
            mask[top : top + 8, left : left + 8] = label
    colours = np.array([[20, 20, 20], [220, 30, 30], [30, 220, 30], [30, 30, 220]], np.uint8)
    return colours[masks], masks


def test_clean_labels_are_learned_and_noise_is_measured() -> None:
    images, masks = squares()
    options = {"epochs": 16, "batch_size": 4, "lr": 1e-2}
    clean, noisy = made("unet_nano", noise="none", **options), made("unet_nano", noise="flip", rate=0.5, **options)
    for method in (clean, noisy):
        method.bind(masks, np.arange(20))
    assert pretrain(clean, images, clean.options, 0, pool=np.arange(20)).losses[-1] < 0.5
    found = clean.head(clean.backbone, torch.from_numpy(images[20:]).movedim(-1, 1) / 255).argmax(1).numpy()
    assert (found == masks[20:]).mean() > 0.95
    assert clean.measurements()["realised_noise_rate"] == clean.measurements()["information_loss"] == 0
    measured = noisy.measurements()
    assert measured["realised_noise_rate"] == pytest.approx((noisy.targets != masks[:20]).mean())
    assert 0 < measured["information_loss"] < 1
    rows = [sum(measured.get(f"confusion_{a}_{b}", 0) for b in range(4)) for a in range(4)]
    assert rows == pytest.approx([1, 1, 1, 1], abs=1e-4)


def test_the_noise_has_a_seed_of_its_own() -> None:
    _, masks = squares()
    same, other, third = made(seed=0), made(seed=1), made(seed=0, noise_seed=1)
    for method in (same, other, third):
        method.bind(masks, np.arange(24))
    assert np.array_equal(same.targets, other.targets)
    assert not np.array_equal(same.targets, third.targets)


def test_previews_show_clean_and_noisy_masks() -> None:
    images, masks = squares(4)
    method = made(noise="remove", rate=1.0)
    pictures = method.preview(torch.from_numpy(images).movedim(-1, 1) / 255, Draws(0, 4), masks)
    assert list(pictures) == ["input", "clean", "noisy", "prediction"]
    assert len(pictures["clean"].flatten(2).movedim(1, 2).flatten(0, 1).unique(dim=0)) == 4
    assert len(pictures["noisy"].flatten(2).movedim(1, 2).flatten(0, 1).unique(dim=0)) == 1


def test_without_masks_there_is_nothing_to_learn() -> None:
    with pytest.raises(UserError, match="the data set has none"):
        made().bind(None, np.arange(3))


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_outside_the_unit_interval_is_refused(rate: float) -> None:
    with pytest.raises(ValidationError, match="rate"):
        NoisyLabelsOptions(rate=rate)


def test_without_noise_the_rate_is_zero() -> None:
    clean = NoisyLabelsOptions(noise="none", rate=0.7)
    assert clean == NoisyLabelsOptions(noise="flip", rate=0.0) == NoisyLabelsOptions(noise="none")
    assert (clean.noise, clean.rate) == ("none", 0)
    with pytest.raises(ValidationError, match="rate"):
        NoisyLabelsOptions(rate="much")
