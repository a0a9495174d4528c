"""Augmentation of a batch on its device: every sample has its own parameters, all geometry is one resampling.

A policy is a handful of strengths. Crop, rotation, shift, zoom and shear become one 2 x 3 matrix a sample and one
`grid_sample`, so an image is interpolated once however many of them a policy turns on. Parameters come from a fixed
table of uniform numbers: turning one strength on or off leaves the draws of all others as they were.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor
from torch.nn import functional

from bench.data.color import change_colors, soften, solarize
from bench.data.draws import Draws
from bench.data.policies import Policy, find_policy

# one uniform number each, in this order; append only, or the numerical version of the data pipeline changes
_NUMBERS = (
    "area", "aspect", "left", "top", "flip", "flip_vertical", "rotation", "shift_x", "shift_y", "zoom", "shear",
    "jitter", "brightness", "contrast", "saturation", "hue", "gray", "blur", "sigma", "solarize",
)  # fmt: skip


def augment(
    images: Tensor, policy: str | Policy, draws: Draws, size: tuple[int, int] | None = None, *, copies: int = 1
) -> Tensor:
    """One random view of every image, or several.

    Args:
        images: float [N, C, H, W] in [0, 1]; saturation, hue and gray do nothing unless C is 3.
        policy: name in POLICIES, or a policy of one's own.
        draws: the randomness, for N samples on the images' device.
        size: height and width of the views (multi-crop); default: those of the images.
        copies: views of every image, in one pass.

    Returns:
        float [copies N, C, *size] in [0, 1], a first view of every image before any second; the images themselves,
        untouched, under a policy without strengths.

    Raises:
        UserError: there is no policy of this name.
    """
    policy = policy if isinstance(policy, Policy) else find_policy(policy)
    drawn = draws.uniform(copies, len(_NUMBERS)).transpose(0, 1).flatten(0, 1)  # [copies N, numbers]
    numbers = dict(zip(_NUMBERS, drawn.unbind(1), strict=True))
    views = _flip(images if copies == 1 else images.repeat(copies, 1, 1, 1), policy, numbers)
    if policy.crops or policy.bends or size not in (None, tuple(images.shape[-2:])):
        views = warp(views, affine_matrix(policy, numbers, (images.shape[-2], images.shape[-1])), size, policy.padding)
    if policy.jitter or policy.gray:
        views = change_colors(views, policy, numbers)
    if policy.blur:
        views = soften(views, policy, numbers)
    return solarize(views, numbers["solarize"] < policy.solarize) if policy.solarize else views


def _flip(images: Tensor, policy: Policy, numbers: dict[str, Tensor]) -> Tensor:
    """Mirrors by index rather than by interpolation, so that it is exact."""
    for name, chance, axis in (("flip", policy.flip, -1), ("flip_vertical", policy.flip_vertical, -2)):
        if chance:
            images = torch.where((numbers[name] < chance).view(-1, 1, 1, 1), images.flip(axis), images)
    return images


def affine_matrix(policy: Policy, numbers: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
    """Where each view looks in its image: crop after (rotation, shear, zoom, shift).

    Args:
        policy: the strengths.
        numbers: uniform numbers [N] by name.
        size: height and width of the images in pixels.

    Returns:
        [N, 2, 3] from view to image, both in [-1, 1] from edge to edge.
    """
    angle, shear = (
        torch.deg2rad((2 * numbers[name] - 1) * most)
        for name, most in (("rotation", policy.rotation), ("shear", policy.shear))
    )
    zoom = between(numbers["zoom"], policy.zoom)
    shift_x, shift_y = (2 * policy.shift * (2 * numbers[name] - 1) for name in ("shift_x", "shift_y"))
    bend = inverse_affine(angle, shift_x, shift_y, zoom, shear, width_over_height=size[1] / size[0])
    center_x, center_y, width, height = crop_box(policy, numbers)
    look = torch.stack([width, height], dim=1).unsqueeze(2) * bend
    look[:, :, 2] += torch.stack([center_x, center_y], dim=1)
    return look


def crop_box(policy: Policy, numbers: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A random box inside the image, area uniform and aspect log-uniform as in Inception crops.

    A box longer than the image is cut to it (no retries, as in MAE's fine-tuning recipe, arXiv 2111.06377).

    Returns:
        Centre x, centre y in [-1, 1], and width and height as shares of the image; each [N].
    """
    area = between(numbers["area"], policy.area)
    least, most = policy.aspect
    aspect = torch.exp(between(numbers["aspect"], (log(least), log(most))))
    width = (area * aspect).sqrt().clamp(max=1.0)
    height = (area / aspect).sqrt().clamp(max=1.0)
    return (2 * numbers["left"] - 1) * (1 - width), (2 * numbers["top"] - 1) * (1 - height), width, height


def inverse_affine(
    angle: Tensor, shift_x: Tensor, shift_y: Tensor, zoom: Tensor, shear: Tensor, *, width_over_height: float
) -> Tensor:
    """The map from a rotated, sheared, zoomed and shifted view back to its image, about the image's centre.

    Args:
        angle: radians, clockwise on the screen, [N].
        shift_x: half widths to the right, [N].
        shift_y: half heights down, [N].
        zoom: factor of magnification, [N].
        shear: radians along x, [N].
        width_over_height: of the image in pixels; rotations are rigid in pixels.

    Returns:
        [N, 2, 3] in [-1, 1] coordinates.
    """
    cos, sin, tan = angle.cos(), angle.sin(), shear.tan()
    matrix = torch.stack([cos - sin * tan, sin + cos * tan, -sin, cos], dim=1).view(-1, 2, 2)
    scale = matrix.new_tensor([[1.0, 1 / width_over_height], [width_over_height, 1.0]])
    matrix = matrix * scale / zoom.view(-1, 1, 1)
    shift = torch.stack([shift_x, shift_y], dim=1).unsqueeze(2)
    return torch.cat([matrix, -matrix @ shift], dim=2)


def warp(images: Tensor, matrix: Tensor, size: tuple[int, int] | None = None, padding: str = "reflection") -> Tensor:
    """Resamples each image bilinearly at the places its matrix names.

    Args:
        images: float [N, C, H, W].
        matrix: [N, 2, 3] from view to image, in [-1, 1] from edge to edge.
        size: height and width of the views; default: those of the images.
        padding: "zeros", "border" or "reflection": what lies outside.

    Returns:
        float [N, C, *size].
    """
    height, width = size or images.shape[-2:]
    grid = functional.affine_grid(matrix.to(images.dtype), [len(images), 1, height, width], align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def between(uniform: Tensor, limits: tuple[float, float]) -> Tensor:
    """Uniform numbers in [0, 1) stretched to the limits."""
    return limits[0] + (limits[1] - limits[0]) * uniform
