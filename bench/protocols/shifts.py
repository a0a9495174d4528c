"""Shifts of test images by severity 1 to 5, as field photographs vary: light, contrast, blur, noise, pose, JPEG.

The kinds are those of Hendrycks & Dietterich (arXiv 1903.12261); the strengths are for small images. Lengths in pixels
grow with the image from 32 pixels on. What is random (noise, and the direction of turns and zooms) is drawn for each
image by its number, so every entrant sees the same shifted images, and every severity the same noise, scaled.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from bench.seeds import named_seed
from bench.study.protocols import Shift

BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)  # added to the value of HSV, in [0, 1] units
CONTRAST = (0.75, 0.5, 0.4, 0.3, 0.15)  # what is left of the distance from the image's mean
BLUR = (0.4, 0.6, 0.8, 1.0, 1.3)  # standard deviation in pixels at 32 pixels and below
NOISE = (0.04, 0.08, 0.12, 0.16, 0.2)  # standard deviation in [0, 1] units
ROTATION = (6.0, 12.0, 18.0, 24.0, 30.0)  # degrees, to the left or to the right
SCALE = (1.1, 1.2, 1.35, 1.5, 1.75)  # times as large, or as small
JPEG = (60, 40, 25, 15, 8)  # quality

_BLUR_SIDE = 32


def shifted(images: Tensor, shift: Shift, severity: int, numbers: np.ndarray) -> Tensor:
    """The images as the shift leaves them.

    Args:
        images: float32 [N, C, H, W] in [0, 1].
        shift: name of the shift.
        severity: 1 to 5.
        numbers: int64 [N], the images' numbers in the image store, which name their random numbers.

    Returns:
        Same shape, dtype and device, in [0, 1].
    """
    return SHIFTS[shift](images, severity - 1, numbers).clamp(0, 1)


def brighten(images: Tensor, level: int, numbers: np.ndarray) -> Tensor:
    """More light: the value of HSV raised, hue and saturation kept."""
    value = images.amax(1, keepdim=True)
    lit = (value + BRIGHTNESS[level]).clamp(max=1)
    return torch.where(value > 0, images * (lit / value.clamp(min=1e-6)), lit)


def flatten(images: Tensor, level: int, numbers: np.ndarray) -> Tensor:
    """Less contrast: every channel nearer to its mean over the image."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + CONTRAST[level] * (images - mean)


def blur(images: Tensor, level: int, numbers: np.ndarray) -> Tensor:
    """Out of focus: a Gaussian blur."""
    side = min(images.shape[-2:])
    sigma = BLUR[level] * max(1.0, side / _BLUR_SIDE)
    radius = min(math.ceil(3 * sigma), side - 1)  # the border is mirrored, so no more than the image has
    return transforms.gaussian_blur(images, [2 * radius + 1] * 2, [sigma] * 2)


def add_noise(images: Tensor, level: int, numbers: np.ndarray) -> Tensor:
    """A high ISO: white Gaussian noise."""
    noise = [torch.randn(images.shape[1:], generator=_generator("noise", number)) for number in numbers]
    return images + NOISE[level] * torch.stack(noise).to(images)


def rotate(images: Tensor, level: int, numbers: np.ndarray) -> Tensor:
    """A turned camera."""
    return _either(images, [(angle, 1.0) for angle in (ROTATION[level], -ROTATION[level])], "rotation", numbers)


def zoom(images: Tensor, level: int, numbers: np.ndarray) -> Tensor:
    """Another distance."""
    return _either(images, [(0.0, scale) for scale in (SCALE[level], 1 / SCALE[level])], "scale", numbers)


def compress(images: Tensor, level: int, numbers: np.ndarray) -> Tensor:
    """JPEG, compressed on the CPU."""
    stored = (images * 255).round().to(torch.uint8).cpu()
    return torch.stack([_through_jpeg(image, JPEG[level]) for image in stored]).to(images) / 255


def _through_jpeg(image: Tensor, quality: int) -> Tensor:
    """One image uint8 [C, H, W] written and read again."""
    file = io.BytesIO()
    transforms.to_pil_image(image).save(file, "JPEG", quality=quality)
    return transforms.pil_to_tensor(Image.open(file))


def _either(images: Tensor, moves: list[tuple[float, float]], name: str, numbers: np.ndarray) -> Tensor:
    """Each image turned and zoomed by one of the two moves (degrees, factor); its own number says by which."""
    first = [bool(torch.rand((), generator=_generator(name, number)) < 0.5) for number in numbers]
    chosen = torch.tensor(first, device=images.device).view(-1, 1, 1, 1)
    one, other = (_move(images, *move) for move in moves)
    return torch.where(chosen, one, other)


def _move(images: Tensor, angle: float, scale: float) -> Tensor:
    """Turned and zoomed about the centre; what comes into view continues the border."""
    height, width = images.shape[-2:]
    margin = math.ceil(max(height, width) / 2)
    wide = transforms.pad(images, [margin], padding_mode="edge")
    moved = transforms.affine(wide, angle, [0.0, 0.0], scale, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR)
    return transforms.center_crop(moved, [height, width])


def _generator(name: str, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(named_seed("shift", name, int(number)))


SHIFTS: dict[Shift, Callable[[Tensor, int, np.ndarray], Tensor]] = {
    "brightness": brighten,
    "contrast": flatten,
    "blur": blur,
    "noise": add_noise,
    "rotation": rotate,
    "scale": zoom,
    "jpeg": compress,
}
