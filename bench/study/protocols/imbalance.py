"""Remedies of class imbalance that a protocol may take; which of them a head can use is checked here."""

from __future__ import annotations

from typing import Literal

Remedy = Literal["none", "class_weights", "balanced_sampling", "focal", "logit_adjustment", "rare_augmentation"]

REMEDY = (
    "remedy of class imbalance; means something only where the labels are imbalanced: draw_strategy uniform, "
    "or the budget 'all'"
)
_CONVEX: tuple[Remedy, ...] = ("none", "class_weights", "logit_adjustment")
_ON_FEATURES: tuple[Remedy, ...] = (*_CONVEX, "balanced_sampling", "focal")


def check_convex(remedy: Remedy, head: str) -> None:
    """What an exact solver can use.

    Balanced sampling has the expectation of class weights, which is what the solver minimises anyway; the focal loss
    is not convex; features are not augmented.

    Raises:
        ValueError: another remedy, named; inside a model pydantic makes a validation error of it.
    """
    _check(remedy, _CONVEX, head)


def check_on_features(remedy: Remedy, head: str) -> None:
    """What a head trained by gradient steps on kept features can use: all that does not augment images.

    Raises:
        ValueError: another remedy, named; inside a model pydantic makes a validation error of it.
    """
    _check(remedy, _ON_FEATURES, head)


def check_augmented(remedy: Remedy, augmentation: str, protocol: str) -> None:
    """What a network trained on images can use: everything, if there is an augmentation to strengthen.

    Raises:
        ValueError: rare classes are to be augmented more strongly than with no augmentation.
    """
    if remedy == "rare_augmentation" and augmentation == "none":
        raise ValueError(
            f"imbalance: 'rare_augmentation' strengthens the augmentation of {protocol}, which is 'none'; "
            "name a policy such as affine"
        )


def _check(remedy: Remedy, valid: tuple[Remedy, ...], head: str) -> None:
    if remedy not in valid:
        raise ValueError(f"imbalance: {remedy!r} cannot be used by {head}; valid here: {', '.join(valid)}")
