"""Remedies of class imbalance, against scikit-learn, torchvision and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_sample_weight
from torch.nn import functional

from bench.data.augment import augment
from bench.data.draws import Draws
from bench.data.policies import find_policy
from bench.protocols.imbalance import class_counts, epoch_order, log_prior, loss, sample_weights, stronger, view
from bench.study.protocols.imbalance import check_augmented, check_convex, check_on_features

LABELS = np.array([0] * 30 + [1] * 9 + [3] * 1)  # class 2 is missing
COUNTS = class_counts(LABELS, 4)


def batch(n: int = 40, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, classes, generator=generator, dtype=torch.float64), torch.tensor(LABELS[:n])


def test_counts_of_several_draws_at_once() -> None:
    both = class_counts(np.stack([LABELS, LABELS[::-1]]), 4)
    assert both.tolist() == [[30, 9, 0, 1]] * 2


def test_class_weights_are_scikit_learns() -> None:
    np.testing.assert_allclose(sample_weights(LABELS, 4, "class_weights"), compute_sample_weight("balanced", LABELS))
    assert sample_weights(LABELS, 4, "class_weights").mean() == pytest.approx(1)
    assert (sample_weights(LABELS, 4, "logit_adjustment") == 1).all()
    assert (sample_weights(np.arange(12) % 4, 4, "class_weights") == 1).all()


def test_balanced_sampling_draws_every_class_present_alike() -> None:
    many = np.tile(LABELS, 250)
    drawn = epoch_order(many, 4, "balanced_sampling", np.random.default_rng(0))
    shares = class_counts(many[drawn], 4) / len(many)
    np.testing.assert_allclose(shares, [1 / 3, 1 / 3, 0, 1 / 3], atol=0.02)  # three standard errors are 0.014


def test_other_remedies_take_every_sample_once() -> None:
    indices = np.arange(100, 140)
    order = epoch_order(LABELS, 4, "focal", np.random.default_rng(3))
    assert sorted(order) == list(range(40))
    assert (indices[order] == np.random.default_rng(3).permutation(indices)).all()


def test_weighted_loss_is_the_weighted_mean_of_the_cross_entropy() -> None:
    logits, targets = batch()
    each = functional.cross_entropy(logits, targets, reduction="none")
    expected = (each * torch.as_tensor(compute_sample_weight("balanced", LABELS))).mean()
    torch.testing.assert_close(loss(logits, targets, "class_weights", COUNTS), expected)
    # over all the labels that is the normalised loss of torch
    weights = torch.as_tensor(COUNTS.sum() / (3 * np.maximum(COUNTS, 1)))
    torch.testing.assert_close(expected, functional.cross_entropy(logits, targets, weight=weights))


@pytest.mark.parametrize("remedy", ["none", "balanced_sampling", "rare_augmentation"])
def test_remedies_outside_the_loss_leave_it_alone(remedy: str) -> None:
    logits, targets = batch()
    torch.testing.assert_close(loss(logits, targets, remedy, COUNTS), functional.cross_entropy(logits, targets))


def test_focal_loss_of_two_classes_is_torchvisions() -> None:
    from torchvision.ops import sigmoid_focal_loss

    margin = torch.linspace(-3, 3, 20, dtype=torch.float64)
    targets = (torch.arange(20) % 3 == 0).long()
    logits = torch.stack([torch.zeros_like(margin), margin], 1)
    expected = sigmoid_focal_loss(margin, targets.double(), alpha=-1, gamma=2, reduction="mean")
    torch.testing.assert_close(loss(logits, targets, "focal", np.array([13, 7])), expected)


def test_adjusted_logits_at_the_prior_are_the_bayes_rule_of_balanced_classes() -> None:
    """A head that says the posterior under the labels' prior, less the log prior, says that of a uniform prior."""
    prior = COUNTS / COUNTS.sum()
    likelihood = np.random.default_rng(0).random((50, 4))
    posterior = np.log(likelihood * np.maximum(prior, 1 / 40))
    balanced = posterior - log_prior(COUNTS)
    assert (balanced.argmax(1) == likelihood.argmax(1)).all()
    assert (posterior.argmax(1) != likelihood.argmax(1)).any()


def test_adjusted_loss_is_the_cross_entropy_of_shifted_logits() -> None:
    logits, targets = batch()
    shifted = functional.cross_entropy(logits + torch.as_tensor(log_prior(COUNTS)), targets)
    torch.testing.assert_close(loss(logits, targets, "logit_adjustment", COUNTS), shifted)
    assert np.isfinite(log_prior(COUNTS)).all()
    equal = np.full(4, 10)  # a constant shift changes nothing
    unshifted = functional.cross_entropy(logits, targets)
    torch.testing.assert_close(loss(logits, targets, "logit_adjustment", equal), unshifted)


def test_only_rare_classes_are_augmented_more_strongly() -> None:
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = augment(images, "affine", Draws(5, 40))
    views = view(images, LABELS, "affine", 5, "rare_augmentation", COUNTS)
    changed = (views != plain).flatten(1).any(1).numpy()
    assert (changed == (LABELS != 0)).all()  # 30 of 40 are more than the mean of 13
    assert (view(images, LABELS, "affine", 5, "focal", COUNTS) == plain).all()
    assert (view(images, LABELS, "affine", 5, "rare_augmentation", np.full(4, 10)) == plain).all()


def test_a_stronger_policy_moves_pixels_further() -> None:
    affine = stronger(find_policy("affine"))
    assert (affine.rotation, affine.shift, affine.shear) == (20.0, 0.2, 10.0)
    assert affine.zoom == pytest.approx((0.8, 1.2))
    assert affine.area == (1.0, 1.0)
    assert stronger(find_policy("crop_flip")).area == (0.1, 1.0)
    assert stronger(find_policy("crop_flip")).flip == 0.5
    assert stronger(find_policy("none")) == find_policy("none")


@pytest.mark.parametrize("remedy", ["balanced_sampling", "focal", "rare_augmentation"])
def test_an_exact_solver_refuses_what_it_cannot_minimise(remedy: str) -> None:
    with pytest.raises(ValueError, match=f"imbalance: '{remedy}' .*valid here: none, class_weights, logit_adjustment"):
        check_convex(remedy, "the linear probe")


def test_features_are_not_augmented() -> None:
    check_on_features("focal", "a frozen head")
    with pytest.raises(ValueError, match="'rare_augmentation' cannot be used by a frozen head"):
        check_on_features("rare_augmentation", "a frozen head")
    with pytest.raises(ValueError, match=r"imbalance: .*augmentation of finetune, which is 'none'"):
        check_augmented("rare_augmentation", "none", "finetune")
