"""Losses of segmentation against torch and the library, and ignored pixels without influence."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from torch.nn import functional

from bench.data.raw import IGNORE
from bench.protocols.dense_loss import dense_loss


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 4, (3, 6, 5), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.3] = IGNORE
    return torch.randn(3, 4, 6, 5, generator=generator), target


def test_cross_entropy_is_torchs(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = functional.cross_entropy(*batch, ignore_index=IGNORE)
    torch.testing.assert_close(dense_loss(*batch, "ce"), expected)


def test_dice_is_the_librarys_on_the_pixels_that_count(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = batch
    counts = target != IGNORE
    kept = logits.movedim(1, 0)[:, counts].unsqueeze(0).unsqueeze(-1)  # one image of the counted pixels alone
    expected = smp.losses.DiceLoss("multiclass")(kept, target[counts].view(1, -1, 1))
    torch.testing.assert_close(dense_loss(logits, target, "dice"), expected)
    chance = kept.softmax(1)[0, :, :, 0]
    truth = functional.one_hot(target[counts], 4).T
    by_hand = 1 - 2 * (chance * truth).sum(1) / (chance.sum(1) + truth.sum(1))
    torch.testing.assert_close(dense_loss(logits, target, "dice"), by_hand.mean())


def test_the_sum_is_the_sum(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.testing.assert_close(dense_loss(*batch, "ce_dice"), dense_loss(*batch, "ce") + dense_loss(*batch, "dice"))


@pytest.mark.parametrize("kind", ["ce", "dice", "ce_dice"])
def test_ignored_pixels_have_no_gradient_and_may_be_all(kind: str, batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, target = batch[0].requires_grad_(True), batch[1]
    dense_loss(logits, target, kind).backward()
    ignored = (target == IGNORE).unsqueeze(1).expand_as(logits)
    assert (logits.grad[ignored] == 0).all()
    assert (logits.grad[~ignored] != 0).any()
    nothing = dense_loss(logits, torch.full_like(target, IGNORE), kind)
    assert nothing == 0
