"""A procedural test bed for few-shot segmentation: patterned shapes on a textured ground, with exact masks.

Not a data set: it has the many classes that few-shot learning needs, so that it tells which labels pay, not how well a
system does on photographs.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from bench.data.raw import RawImages
from bench.data.source import GENERATOR_VERSION, files_folder
from bench.errors import UserError
from bench.seeds import named_seed
from bench.study.shape_classes import CLASSES, HUES, LOOKS, Look
from bench.study.spec import DataSpec

IMAGES, SIZE = 800, 48  # what is made where nothing else is asked for
MOST = 3  # objects of an image
RADIUS = (8.0, 13.0)  # of objects, in pixels of an image of 48
_TRIES = 20  # places tried for an object; where none is free the image does without
_BOUNDARY = 1.0  # pixels between objects
_STAR = 0.34  # half the width of a cross's bars over its radius


def read_shape_scenes(spec: DataSpec) -> RawImages:
    """Generated images with the class of every pixel; the first 100 of 800 are those of 100.

    The label of an image is the class of its largest object.

    Raises:
        UserError: options that only files or other generators have.
    """
    files_folder(spec)  # says so when a root is given
    for name in ("chip", "channels", "palette", "test_tiles"):
        if getattr(spec, name) is not None:
            raise UserError(f"data.{name}: shape_scenes is generated, of data.image_size; leave it out")
    count, size = spec.images or IMAGES, spec.image_size or SIZE
    pixels, masks = zip(*(scene(number, size) for number in range(count)), strict=True)
    shown = np.stack([np.bincount(mask.ravel(), minlength=len(CLASSES)) for mask in masks])
    return RawImages(
        paths=tuple(f"shape_scenes/{number}" for number in range(count)),
        labels=shown[:, 1:].argmax(1) + 1,
        class_names=CLASSES,
        pixels=np.stack(pixels),
        groups=np.arange(count),
        masks=np.stack(masks),
    )


def scene(number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """An image: uint8 [size, size, 3], and the class of each pixel: uint8 [size, size], 0 the ground.

    One to three objects of different classes, none on another.

    Args:
        number: of the image; names the random numbers together with the size.
        size: side in pixels; objects grow with it.
    """
    numbers = np.random.default_rng(named_seed("shape_scenes", GENERATOR_VERSION, size, number))
    y, x = np.mgrid[:size, :size] + 0.5
    picture, mask, taken = ground(x, y, numbers), np.zeros((size, size), np.uint8), []
    for label in 1 + numbers.permutation(len(LOOKS))[: numbers.integers(1, MOST + 1)]:
        place = _place(size, taken, numbers)
        if place is None:
            continue
        taken.append(place)
        across, along = (x - place[0]) / place[2], (y - place[1]) / place[2]
        look = LOOKS[label - 1]
        inside = shape(look.shape, across, along, numbers)
        picture[inside] = painted(look, x, y, size / SIZE, numbers)[inside]
        mask[inside] = label
    return _sense(picture, numbers), mask


def ground(x: np.ndarray, y: np.ndarray, numbers: np.random.Generator) -> np.ndarray:
    """What objects lie on: a dull colour with coarse and fine spots and faint stripes; [H, W, 3] in about [0, 1]."""
    size = len(x)
    color = numbers.uniform(0.25, 0.6) * np.exp(0.1 * numbers.standard_normal(3))
    spots = sum(0.12 * _noise(size, scale * size / SIZE, numbers) for scale in (0.8, 4.0))
    angle, wavelength = np.pi * numbers.random(), numbers.uniform(5, 12) * size / SIZE
    stripes = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength)
    return color * np.exp(spots + numbers.uniform(0, 0.12) * stripes)[..., None]


def shape(name: str, x: np.ndarray, y: np.ndarray, numbers: np.random.Generator) -> np.ndarray:
    """Which points of the plane a shape of radius 1 holds, turned a little: bool."""
    turn = numbers.uniform(-0.4, 0.4)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    distance, angle = np.hypot(u, v), np.arctan2(v, u)
    if name == "disc":
        return distance < 0.9
    if name == "box":
        return (np.abs(u) < 0.75) & (np.abs(v) < 0.65)
    if name == "triangle":
        return (v < 0.55) & (2 * np.abs(u) - v < 0.95)
    if name == "cross":
        return (np.minimum(np.abs(u), np.abs(v)) < _STAR) & (np.maximum(np.abs(u), np.abs(v)) < 0.92)
    waves = sum(
        0.1 * numbers.uniform(0.4, 1) * np.sin(k * angle + 2 * np.pi * numbers.random()) for k in (2, 3, 5)
    )  # a blob
    return distance < 0.7 + waves


def painted(look: Look, x: np.ndarray, y: np.ndarray, scale: float, numbers: np.random.Generator) -> np.ndarray:
    """A plane in the colour and the pattern of a class, each time of another tone and period: [H, W, 3]."""
    color = np.array(HUES[look.hue]) * np.exp(0.12 * numbers.standard_normal() + 0.06 * numbers.standard_normal(3))
    period, dark = scale * numbers.uniform(3.6, 5.2), numbers.uniform(0.3, 0.5)
    (a, b), half = 2 * np.pi * numbers.random(2), 2 * np.pi / period
    lines = {
        "plain": np.zeros_like(x),
        "rows": np.sin(half * y + a) < 0,
        "columns": np.sin(half * x + a) < 0,
        "checks": np.sin(half * x + a) * np.sin(half * y + b) < 0,
        "dots": np.cos(half * x + a) + np.cos(half * y + b) > 0.7,
    }[look.pattern]
    return color * np.where(lines, dark, 1.0)[..., None]


def _place(
    size: int, taken: list[tuple[float, float, float]], numbers: np.random.Generator
) -> tuple[float, float, float] | None:
    """Column, row and radius of a free circle within the image; None where none was found."""
    for _ in range(_TRIES):
        radius = numbers.uniform(*RADIUS) * size / SIZE
        column, row = numbers.uniform(radius, size - radius, 2)
        if all(np.hypot(column - c, row - r) > radius + other + _BOUNDARY for c, r, other in taken):
            return column, row, radius
    return None


def _noise(size: int, scale: float, numbers: np.random.Generator) -> np.ndarray:
    """Smooth noise of mean 0 and deviation 1, [size, size]."""
    field = gaussian_filter(numbers.standard_normal((size, size)), scale, mode="wrap")
    return (field - field.mean()) / field.std()


def _sense(picture: np.ndarray, numbers: np.random.Generator) -> np.ndarray:
    """What a camera makes of it: light of another strength, colour and slope each time, blur and noise; uint8."""
    ramp = np.linspace(-1, 1, len(picture))
    slope = 0.15 * numbers.standard_normal(2)
    light = np.exp(0.15 * numbers.standard_normal() + slope[0] * ramp[:, None] + slope[1] * ramp)
    seen = picture * light[..., None] * np.exp(0.08 * numbers.standard_normal(3))
    blurred = gaussian_filter(seen, (0.4, 0.4, 0), mode="nearest")
    noise = numbers.uniform(0.01, 0.04) * numbers.standard_normal(picture.shape)
    return np.rint(255 * np.clip(blurred + noise, 0, 1)).astype(np.uint8)
