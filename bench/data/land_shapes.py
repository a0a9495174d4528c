"""The shapes of the land-cover test bed, drawn for many images at once: parcels, water, roads, buildings, trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PARCEL = 22.0  # pixels from one parcel to the next, about


@dataclass(frozen=True)
class Grid:
    """`count` images of `size` x `size` pixels."""

    count: int
    size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.count, self.size, self.size

    @property
    def x(self) -> np.ndarray:
        """Columns, [1, 1, size]."""
        return np.arange(self.size, dtype=np.float32)[None, None]

    @property
    def y(self) -> np.ndarray:
        """Rows, [1, size, 1]."""
        return np.arange(self.size, dtype=np.float32)[None, :, None]

    def per_image(self, values: np.ndarray) -> np.ndarray:
        """One number an image, [n, 1, 1]."""
        return np.asarray(values, np.float32).reshape(-1, 1, 1)

    def places(self, numbers: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A random place in each image: column and row, [n, 1, 1] each."""
        column, row = (self.per_image(self.size * numbers.random(self.count)) for _ in range(2))
        return column, row

    def many(self, least: float, most: float) -> int:
        """Number of things of which 64 x 64 pixels hold `most`; grows with the area, is at least `least`."""
        return int(max(least, round(most * (self.size / 64) ** 2)))


def parcels(
    grid: Grid, numbers: np.random.Generator, kinds: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Land in parcels, each of the kind most of whose images it has more of: field, bare or wood.

    Args:
        grid: the images.
        numbers: source of the random numbers.
        kinds: classes of fields, bare land and woods.

    Returns:
        Class uint8, tone (log) and the rows of crops (log, for fields), [n, size, size] each.
    """
    count = max(4, round((grid.size / _PARCEL) ** 2))
    shares = numbers.dirichlet((1.6, 0.7, 0.6), grid.count).cumsum(1)  # some images have no wood, some are all fields
    kind = (numbers.random((grid.count, count, 1)) > shares[:, None, :2]).sum(2)
    tone = 0.13 * numbers.standard_normal((grid.count, count))
    angle, phase = (np.pi * factor * numbers.random((grid.count, count)) for factor in (1, 2))
    wavelength = 2.5 + 3 * numbers.random((grid.count, count))
    nearest = _nearest_site(grid, numbers, count)
    image = np.arange(grid.count)[:, None, None]
    at, length = angle[image, nearest], wavelength[image, nearest]
    rows = np.sin(2 * np.pi * (grid.x * np.cos(at) + grid.y * np.sin(at)) / length + phase[image, nearest])
    classes = np.array(kinds, np.uint8)[kind][image, nearest]
    return classes, tone[image, nearest], 0.09 * rows


def _nearest_site(grid: Grid, numbers: np.random.Generator, count: int) -> np.ndarray:
    """Number of the nearest of `count` random sites for each pixel, int64 [n, size, size]; cells lean either way."""
    best = np.full(grid.shape, np.inf, np.float32)
    nearest = np.zeros(grid.shape, np.int64)
    stretch = grid.per_image(np.exp(0.5 * numbers.standard_normal(grid.count)))
    turn = grid.per_image(np.pi * numbers.random(grid.count))
    cos, sin = np.cos(turn), np.sin(turn)
    for site in range(count):
        column, row = grid.places(numbers)
        across, along = grid.x - column, grid.y - row
        distance = (across * cos + along * sin) ** 2 * stretch + (along * cos - across * sin) ** 2 / stretch
        nearer = distance < best
        best[nearer], nearest[nearer] = distance[nearer], site
    return nearest


def water(grid: Grid, numbers: np.random.Generator) -> np.ndarray:
    """Lakes in a third of the images, rivers in a quarter: bool [n, size, size]."""
    height = smooth_noise(grid, numbers, 9.0)
    lake = grid.per_image(numbers.random(grid.count) < 0.35) * (
        height > grid.per_image(0.6 + 0.6 * numbers.random(grid.count))
    )
    column, row = grid.places(numbers)
    angle = grid.per_image(2 * np.pi * numbers.random(grid.count))
    ramp = ((grid.x - column) * np.cos(angle) + (grid.y - row) * np.sin(angle)) / 14
    course = smooth_noise(grid, numbers, 14.0) + ramp  # the ramp makes one winding line of its zeros, not rings
    river = grid.per_image(numbers.random(grid.count) < 0.25) * (np.abs(course) < 0.3)
    return (lake + river).astype(bool)


def roads(grid: Grid, numbers: np.random.Generator) -> np.ndarray:
    """Up to three gently winding roads, 2 to 4 pixels wide: bool [n, size, size]."""
    paved = np.zeros(grid.shape, bool)
    for _ in range(3):
        column, row = grid.places(numbers)
        angle = grid.per_image(2 * np.pi * numbers.random(grid.count))
        along = (grid.x - column) * np.cos(angle) + (grid.y - row) * np.sin(angle)
        across = (grid.y - row) * np.cos(angle) - (grid.x - column) * np.sin(angle)
        bend = grid.per_image(4 * numbers.random(grid.count))
        length = grid.per_image(40 + 60 * numbers.random(grid.count))
        offset = across - bend * np.sin(2 * np.pi * along / length)
        half = grid.per_image(0.9 + 1.1 * numbers.random(grid.count))
        there = grid.per_image(numbers.random(grid.count) < 0.5).astype(bool)
        paved |= there & (np.abs(offset) < half)
    return paved


def buildings(grid: Grid, numbers: np.random.Generator, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rectangular roofs, one slope brighter than the other, aligned within an image.

    Args:
        grid: the images.
        numbers: source of the random numbers.
        free: bool [n, size, size], where a roof may stand.

    Returns:
        bool and tone (log), [n, size, size] each.
    """
    most = grid.many(4, 14)
    wanted = numbers.integers(0, most + 1, grid.count) * (numbers.random(grid.count) < 0.65)
    turn = grid.per_image(np.pi * numbers.random(grid.count))
    roofs, shades = np.zeros(grid.shape, bool), np.zeros(grid.shape, np.float32)
    for number in range(most):
        column, row = grid.places(numbers)
        across, along = grid.x - column, grid.y - row
        u, v = across * np.cos(turn) + along * np.sin(turn), along * np.cos(turn) - across * np.sin(turn)
        length, width = (grid.per_image(1.7 + 3.5 * numbers.random(grid.count)) for _ in range(2))
        tone = grid.per_image(0.3 * numbers.standard_normal(grid.count)) + 0.12 * np.sign(v)
        roof = (np.abs(u) < length) & (np.abs(v) < width) & grid.per_image(number < wanted).astype(bool)
        roofs |= roof
        shades[roof] = np.broadcast_to(tone, grid.shape)[roof]
    return roofs & free, shades


def trees(grid: Grid, numbers: np.random.Generator, free: np.ndarray) -> np.ndarray:
    """Round crowns that stand alone, where it is free: bool [n, size, size]."""
    most = grid.many(4, 16)
    wanted = numbers.integers(0, most + 1, grid.count)
    crowns = np.zeros(grid.shape, bool)
    for number in range(most):
        column, row = grid.places(numbers)
        radius = grid.per_image(np.where(number < wanted, 1.3 + 2.2 * numbers.random(grid.count), 0))
        crowns |= (grid.x - column) ** 2 + (grid.y - row) ** 2 < radius**2
    return crowns & free


def smooth_noise(grid: Grid, numbers: np.random.Generator, scale: float) -> np.ndarray:
    """Gaussian noise of mean 0 and deviation 1, smooth over `scale` pixels: float32 [n, size, size]."""
    frequency = np.fft.fftfreq(grid.size)[:, None] ** 2 + np.fft.rfftfreq(grid.size)[None] ** 2
    low_pass = np.exp(-2 * (np.pi * scale) ** 2 * frequency)
    spectrum = np.fft.rfft2(numbers.standard_normal(grid.shape)) * low_pass
    field = np.fft.irfft2(spectrum, s=(grid.size, grid.size))
    return (field / field.std()).astype(np.float32)
