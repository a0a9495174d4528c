"""Colour changes, blur and solarisation of a batch, each image with its own strength.

The formulas are torchvision's, except that hue turns in the YIQ plane (one 3 x 3 matrix a sample, no branches) where
torchvision goes through HSV, and that the changes come in a fixed order.
"""

from __future__ import annotations

from math import tau

import torch
from torch import Tensor
from torch.nn import functional

from bench.data.policies import Policy

_LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, in torchvision's rounding
_CHANGES = ("brightness", "contrast", "saturation", "hue")
_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def change_colors(images: Tensor, policy: Policy, numbers: dict[str, Tensor]) -> Tensor:
    """Jitters brightness, contrast, saturation and hue, in this order, then turns some images gray.

    Args:
        images: float [N, C, H, W] in [0, 1]; with C other than 3 only brightness and contrast change.
        policy: the strengths.
        numbers: uniform numbers [N] by name.

    Returns:
        float [N, C, H, W] in [0, 1].
    """
    on = (numbers["jitter"] < policy.jitter).to(images.dtype)  # strength 0 is the identity of all four changes
    strength = {name: on * getattr(policy, name) * (2 * numbers[name] - 1) for name in _CHANGES}
    if policy.brightness:
        images = brighten(images, 1 + strength["brightness"])
    if policy.contrast:
        images = contrast(images, 1 + strength["contrast"])
    if images.shape[1] != 3:
        return images
    if policy.saturation:
        images = saturate(images, 1 + strength["saturation"])
    if policy.hue:
        images = turn_hue(images, strength["hue"])
    if policy.gray:
        images = torch.where(_column(numbers["gray"] < policy.gray), luma(images).expand_as(images), images)
    return images


def luma(images: Tensor) -> Tensor:
    """The gray image: [N, C, H, W] -> [N, 1, H, W]; of images that are not RGB, the mean of the channels."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    weights = images.new_tensor(_LUMA).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    """Multiplies each image by its factor [N]."""
    return (images * _column(factor)).clamp(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Spreads each image about its mean gray by its factor [N]."""
    return _blend(images, luma(images).mean(dim=(1, 2, 3), keepdim=True), factor)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Spreads each pixel about its gray by the image's factor [N]; RGB only."""
    return _blend(images, luma(images), factor)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turns the colours of each RGB image about the gray axis by `turns` [N] of a full circle, in YIQ."""
    to_yiq = images.new_tensor(_TO_YIQ)
    cos, sin = (turns * tau).cos(), (turns * tau).sin()
    turn = torch.zeros(len(images), 3, 3, dtype=images.dtype, device=images.device)
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = cos.to(images.dtype)
    turn[:, 1, 2], turn[:, 2, 1] = -sin.to(images.dtype), sin.to(images.dtype)
    matrix = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return torch.einsum("nij,njhw->nihw", matrix, images).clamp(0, 1)


def soften(images: Tensor, policy: Policy, numbers: dict[str, Tensor]) -> Tensor:
    """Blurs some images, sigma uniform between the policy's limits in pixels."""
    least, most = policy.sigma
    sigma = least + (most - least) * numbers["sigma"]
    return torch.where(_column(numbers["blur"] < policy.blur), gaussian_blur(images, sigma), images)


def gaussian_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blurs each image with its own sigma [N] in pixels.

    The kernel is as wide as a tenth of the shorter side, odd, at least 3 (SimCLR, arXiv 2002.05709, appendix A);
    edges are reflected.
    """
    radius = max(1, min(images.shape[-2:]) // 20)
    steps = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    weights = torch.softmax(-0.5 * (steps / sigma.view(-1, 1)) ** 2, dim=1)  # [N, taps]
    wide = functional.pad(images, (radius, radius, radius, radius), mode="reflect")
    return _slide(_slide(wide, weights, -2), weights, -1)


def _slide(images: Tensor, weights: Tensor, axis: int) -> Tensor:
    """Weighs shifted copies of each image: a few additions are faster than a convolution with a group a sample."""
    taps = weights.shape[1]
    length = images.shape[axis] - taps + 1
    total = _column(weights[:, 0]) * images.narrow(axis, 0, length)
    for tap in range(1, taps):
        total = total + _column(weights[:, tap]) * images.narrow(axis, tap, length)
    return total


def solarize(images: Tensor, chosen: Tensor) -> Tensor:
    """Inverts the bright half of the range in the chosen images (bool [N])."""
    return torch.where(_column(chosen) & (images >= 0.5), 1 - images, images)


def _blend(images: Tensor, base: Tensor, factor: Tensor) -> Tensor:
    ratio = _column(factor)
    return (ratio * images + (1 - ratio) * base).clamp(0, 1)


def _column(values: Tensor) -> Tensor:
    """[N] -> [N, 1, 1, 1]."""
    return values.view(-1, 1, 1, 1)
