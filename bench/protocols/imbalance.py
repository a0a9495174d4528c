"""Remedies of class imbalance: weights, sampling, losses and augmentation by how often a class stands in the labels.

Every remedy reads the labels of the budget only. Where all classes are equally frequent, weights are one, sampling is
uniform, the adjustment is a constant and no class is rare.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bench.data.augment import augment
from bench.data.draws import Draws
from bench.data.policies import Policy, find_policy
from bench.study.protocols.imbalance import Remedy

FOCAL_GAMMA = 2.0  # Lin et al., arXiv 1708.02002, section 5.1
_FACTOR = 2.0  # of every strength, for rare classes


def class_counts(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Samples of each class, int64 [..., K], of labels [..., n]."""
    return (labels[..., None] == np.arange(n_classes)).sum(-2)


def sample_weights(labels: np.ndarray, n_classes: int, remedy: Remedy) -> np.ndarray:
    """Weight of each sample in the objective, float64 [..., n], of labels [..., n]; their mean is one.

    With "class_weights" every class present weighs the same in total (scikit-learn's "balanced" over the classes
    present); all other remedies leave ones.
    """
    if remedy != "class_weights":
        return np.ones(labels.shape)
    return labels.shape[-1] * _balanced(labels, n_classes)


def epoch_order(labels: np.ndarray, n_classes: int, remedy: Remedy, generator: np.random.Generator) -> np.ndarray:
    """Places of the samples of one epoch, int64 [n].

    With "balanced_sampling" n samples with replacement, every class present equally likely; otherwise every sample
    once, in a new order.
    """
    if remedy != "balanced_sampling":
        return generator.permutation(len(labels))
    return generator.choice(len(labels), size=len(labels), p=_balanced(labels, n_classes))


def loss(logits: Tensor, targets: Tensor, remedy: Remedy, counts: np.ndarray) -> Tensor:
    """Mean loss of a batch under the remedy.

    * class_weights: cross-entropy, each sample times n / (classes present x count of its class);
    * focal: (1 - p)^2 times the cross-entropy, p the probability of the true class (arXiv 1708.02002, eq. 4);
    * logit_adjustment: cross-entropy of the logits plus the log of the prior (arXiv 2007.07314, eq. 10); predictions
      are made without it;
    * the others: cross-entropy.

    Args:
        logits: [N, K].
        targets: int64 [N].
        remedy: its name.
        counts: int64 [K], samples of each class in the training labels.
    """
    if remedy == "logit_adjustment":
        logits = logits + torch.as_tensor(log_prior(counts)).to(logits)
    each = functional.cross_entropy(logits, targets, reduction="none")
    if remedy == "focal":
        each = (1 - torch.exp(-each)) ** FOCAL_GAMMA * each
    if remedy == "class_weights":
        weights = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1))
        each = each * torch.as_tensor(weights).to(logits)[targets]
    return each.mean()


def log_prior(counts: np.ndarray) -> np.ndarray:
    """Log of each class's share of the labels, float64 [..., K]; a class without a label counts as one label."""
    return np.log(np.maximum(counts, 1) / counts.sum(-1, keepdims=True))


def view(images: Tensor, labels: np.ndarray, policy: str, seed: int, remedy: Remedy, counts: np.ndarray) -> Tensor:
    """One random view of every image; with "rare_augmentation" those of rare classes are changed twice as much.

    A class is rare when it has fewer labels than the classes present have on average.

    Args:
        images: float [N, C, H, W] in [0, 1].
        labels: int64 [N].
        policy: name of an augmentation policy.
        seed: of the random numbers; common and rare images draw from the same ones.
        remedy: its name; all others augment every class alike.
        counts: int64 [K], samples of each class in the training labels.
    """
    views = augment(images, policy, Draws(seed, len(images), device=images.device))
    if remedy != "rare_augmentation":
        return views
    rare = counts < counts.sum() / np.count_nonzero(counts)
    strong = augment(images, stronger(find_policy(policy)), Draws(seed, len(images), device=images.device))
    return torch.where(torch.as_tensor(rare[labels]).to(images.device).view(-1, 1, 1, 1), strong, views)


def stronger(policy: Policy) -> Policy:
    """The policy with every strength doubled, as far as it goes; mirror images are as likely as before."""
    return replace(
        policy,
        area=(policy.area[0] / _FACTOR if policy.crops else policy.area[0], policy.area[1]),
        rotation=min(180.0, _FACTOR * policy.rotation),
        shift=min(0.5, _FACTOR * policy.shift),
        zoom=(max(0.5, 1 - _FACTOR * (1 - policy.zoom[0])), 1 + _FACTOR * (policy.zoom[1] - 1)),
        shear=min(45.0, _FACTOR * policy.shear),
        brightness=min(1.0, _FACTOR * policy.brightness),
        contrast=min(1.0, _FACTOR * policy.contrast),
        saturation=min(1.0, _FACTOR * policy.saturation),
        hue=min(0.5, _FACTOR * policy.hue),
        jitter=min(1.0, _FACTOR * policy.jitter),
        gray=min(1.0, _FACTOR * policy.gray),
        blur=min(1.0, _FACTOR * policy.blur),
        solarize=min(1.0, _FACTOR * policy.solarize),
    )


def _balanced(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Share of each sample where every class present has the same share, float64 [..., n]; they sum to one."""
    counts = class_counts(labels, n_classes)
    present = np.count_nonzero(counts, axis=-1, keepdims=True)
    return 1 / (present * np.take_along_axis(counts, labels, -1))
