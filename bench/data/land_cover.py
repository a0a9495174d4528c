"""A procedural test bed for dense prediction: land cover seen from above, with exact ground truth and no download.

Not a data set: it tells whether a system works and which way an option pulls, not how well either does on the ground.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from bench.data.land_shapes import Grid, buildings, parcels, roads, smooth_noise, trees, water
from bench.data.raw import RawImages
from bench.data.scenes import majority
from bench.data.source import GENERATOR_VERSION, files_folder
from bench.data.spectra import CLASSES, gains, mean_reflectance
from bench.errors import UserError
from bench.seeds import named_seed
from bench.study.spec import DataSpec

IMAGES, SIZE, BANDS = 600, 64, 3  # what is made where nothing else is asked for
FIELD, BARE, WATER, ROAD, BUILDING, TREE = range(6)
_CHUNK = 50  # images drawn from one generator, so that the first images do not depend on how many are made


def read_land_cover(spec: DataSpec) -> RawImages:
    """Generated images with the class of every pixel; the first 100 of 600 are those of 100.

    Raises:
        UserError: options that only files have.
    """
    files_folder(spec)  # says so when a root is given
    for name in ("chip", "channels", "palette", "test_tiles"):
        if getattr(spec, name) is not None:
            raise UserError(f"data.{name}: land_cover is generated, of data.image_size and data.bands; leave it out")
    count, size, bands = spec.images or IMAGES, spec.image_size or SIZE, spec.bands or BANDS
    made = [generate(chunk, size, bands) for chunk in range(-(-count // _CHUNK))]
    pixels, masks = (np.concatenate(arrays)[:count] for arrays in zip(*made, strict=True))
    return RawImages(
        paths=tuple(f"land_cover/{index}" for index in range(count)),
        labels=majority(masks, len(CLASSES)),
        class_names=CLASSES,
        pixels=pixels,
        groups=np.arange(count),
        masks=masks,
    )


def generate(chunk: int, size: int, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """The images of a chunk: uint8 [50, size, size, bands], and the class of each pixel: uint8 [50, size, size].

    Args:
        chunk: number of the chunk, from 0; names the random numbers together with the size.
        size: side in pixels; parcels and roads keep their size in pixels, larger images hold more of them.
        bands: 1 to 13.
    """
    seed = named_seed("land_cover", GENERATOR_VERSION, size, chunk)
    layout, look = (np.random.default_rng((seed, part)) for part in range(2))  # the layout is the same in all bands
    grid = Grid(_CHUNK, size)
    masks, tones, texture = _layout(grid, layout)
    reflectance = _spectra(look, bands)[np.arange(_CHUNK)[:, None, None], masks]  # [n, size, size, bands]
    shadow = _shadow(masks)
    light = np.exp(tones + texture) * np.where(shadow, 0.55, 1.0)
    return _sense(reflectance * light[..., None], look), masks


def _layout(grid: Grid, numbers: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes uint8, tone of each object (log) and texture within it (log), [n, size, size] each.

    Painted from the ground up: parcels of field, bare land and wood; lakes and rivers; roads; buildings; lone trees.
    """
    masks, tones, rows = parcels(grid, numbers, kinds=(FIELD, BARE, TREE))
    wet = water(grid, numbers)
    masks[wet], tones[wet] = WATER, 0.0
    paved = roads(grid, numbers)
    masks[paved], tones[paved] = ROAD, 0.0
    roofs, shades = buildings(grid, numbers, free=~(wet | paved))
    masks[roofs], tones[roofs] = BUILDING, shades[roofs]
    crowns = trees(grid, numbers, free=~(wet | paved | roofs))
    masks[crowns], tones[crowns] = TREE, 0.0
    fine, coarse = smooth_noise(grid, numbers, 0.7), smooth_noise(grid, numbers, 2.5)
    texture = np.select(
        [masks == kind for kind in (FIELD, BARE, WATER, ROAD, BUILDING)],
        [rows + 0.05 * fine, 0.14 * coarse, 0.04 * coarse, 0.05 * fine, 0.03 * fine],
        0.25 * fine + 0.1 * coarse,
    )
    return masks, tones, texture


def _spectra(numbers: np.random.Generator, bands: int) -> np.ndarray:
    """Reflectance of the classes as each image has it, [n, classes, bands]: brighter or darker, and of another hue."""
    brightness = 0.14 * numbers.standard_normal((_CHUNK, len(CLASSES), 1))
    hue = 0.07 * numbers.standard_normal((_CHUNK, len(CLASSES), bands))
    return mean_reflectance(bands) * np.exp(brightness + hue)


def _shadow(masks: np.ndarray) -> np.ndarray:
    """Pixels right below and beside what stands high; the light comes from the upper left."""
    high = (masks == BUILDING) | (masks == TREE)
    fallen = np.zeros_like(high)
    fallen[:, 1:, 1:] = high[:, :-1, :-1]
    return fallen & ~high & (masks != WATER)


def _sense(radiance: np.ndarray, numbers: np.random.Generator) -> np.ndarray:
    """What the sensor makes of it: sunlight and haze of the day, a gradient, blur, shot and read noise; uint8."""
    count, size, _, bands = radiance.shape
    sun = np.exp(0.2 * numbers.standard_normal((count, 1, 1, 1)))
    haze = np.abs(0.03 * numbers.standard_normal((count, 1, 1, bands)))
    ramp = np.linspace(-1, 1, size)
    slope = 0.08 * numbers.standard_normal((count, 2, 1, 1))
    gradient = np.exp(slope[:, 0] * ramp[:, None] + slope[:, 1] * ramp)[..., None]
    sharp = radiance * gains(bands) * sun * gradient + haze
    signal = gaussian_filter(sharp, sigma=(0, 0.5, 0.5, 0), mode="nearest")
    noise = np.sqrt(0.0015 * signal + 0.015**2) * numbers.standard_normal(signal.shape)
    return np.rint(255 * np.clip(signal + noise, 0, 1)).astype(np.uint8)
