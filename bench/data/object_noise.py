"""Label noise on the single objects of a mask: flipped, moved, grown, shrunk, left out, put in.

Every operator takes mask uint8 [H, W], rate, number of classes and generator, and draws its random numbers for all
objects whatever the rate: at a higher rate the objects touched at a lower one are touched in the same way, and more.
Sizes in pixels are those of the published injector, on tiles of 288, scaled with the tile (arXiv 2402.16164 and its
successors). The largest object of a mask is its ground: it changes its class, never its shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from bench.data.objects import objects
from bench.data.raw import IGNORE

_TILE = 288  # side in pixels for which the sizes below were published
_KERNEL = (5, 15)  # sides of the rectangles that shrink and grow objects: from, up to and without
_LEAST_EXTENT = 12  # objects move by up to half their extent, which counts as this where it is smaller
_ANGLES = (10.0, 350.0)  # degrees


class Thing(NamedTuple):
    """An object cut out of its mask: its pixels as bool [h, w], where they begin, and its class."""

    shape: np.ndarray
    top: int
    left: int
    label: int


def flip(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """A share of the objects has another class, each of the others as often."""
    places, labels = objects(mask, n_classes)
    chance, step = numbers.random(len(labels)), numbers.integers(1, n_classes, len(labels))
    return _relabelled(mask, places, np.where(chance < rate, (labels + step) % n_classes, labels))


def class_conditional(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """A share of the objects has the class behind its own in the order of the classes, the last one the first.

    At rate 1 every pixel is wrong and no information is lost: the classes have changed names.
    """
    places, labels = objects(mask, n_classes)
    return _relabelled(mask, places, np.where(numbers.random(len(labels)) < rate, (labels + 1) % n_classes, labels))


def shift(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """A share of the objects lies elsewhere, by up to half its extent down and across."""
    places, things, touched = _touched(mask, rate, n_classes, numbers)
    way = numbers.uniform(-0.5, 0.5, (len(things), 2))
    noisy = _lifted(mask, places, touched)
    for number in np.flatnonzero(touched):
        thing = things[number]
        extent = np.maximum(thing.shape.shape, _scaled(_LEAST_EXTENT, mask))
        down, across = np.rint(way[number] * extent).astype(int)
        _paste(noisy, thing.shape, thing.top + down, thing.left + across, thing.label)
    return noisy


def rotation(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """A share of the objects is turned about its middle, by 10 to 350 degrees."""
    places, things, touched = _touched(mask, rate, n_classes, numbers)
    angles = numbers.uniform(*_ANGLES, len(things))
    noisy = _lifted(mask, places, touched)
    for number in np.flatnonzero(touched):
        thing = things[number]
        turned = _turned(thing.shape, angles[number])
        top, left = (np.array(thing.shape.shape) - turned.shape) // 2
        _paste(noisy, turned, thing.top + top, thing.left + left, thing.label)
    return noisy


def stale(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """The map of another date: a share of the objects stood anywhere else in the tile."""
    places, things, touched = _touched(mask, rate, n_classes, numbers)
    where = numbers.random((len(things), 2))
    noisy = _lifted(mask, places, touched)
    for number in np.flatnonzero(touched):
        _paste_anywhere(noisy, things[number].shape, where[number], things[number].label)
    return noisy


def remove(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """A share of the objects is missing: what lies around closes over it."""
    places, _, touched = _touched(mask, rate, n_classes, numbers)
    return _lifted(mask, places, touched)


def add(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """A share of the objects stands a second time anywhere in the tile, turned by any angle."""
    _, things, touched = _touched(mask, rate, n_classes, numbers)
    where, angles = numbers.random((len(things), 2)), numbers.uniform(*_ANGLES, len(things))
    noisy = mask.copy()
    for number in np.flatnonzero(touched):
        _paste_anywhere(noisy, _turned(things[number].shape, angles[number]), where[number], things[number].label)
    return noisy


def dilation(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """A share of the objects has grown over what lies around it, by a rectangle of 5 to 14 pixels a side."""
    _, things, touched = _touched(mask, rate, n_classes, numbers)
    kernels = _kernels(mask, len(things), numbers)
    noisy = mask.copy()
    for number in np.flatnonzero(touched):
        thing, (high, wide) = things[number], kernels[number]
        around = np.pad(thing.shape, ((high, high), (wide, wide)))
        grown = ndimage.binary_dilation(around, np.ones((high, wide)))
        _paste(noisy, grown, thing.top - high, thing.left - wide, thing.label)
    return noisy


def erosion(mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator) -> np.ndarray:
    """A share of the objects has shrunk, by a rectangle of 5 to 14 pixels a side, not from the edge of the tile."""
    places, things, touched = _touched(mask, rate, n_classes, numbers)
    kernels = _kernels(mask, len(things), numbers)
    noisy = mask.copy()
    for number in np.flatnonzero(touched):
        thing, (high, wide) = things[number], kernels[number]
        window = _window(thing, mask.shape, high, wide)
        whole = places[window] == number + 1
        lost = whole & ~ndimage.binary_erosion(whole, np.ones((high, wide)), border_value=1)
        noisy[window] = _closed(noisy[window], lost, ~whole)
    return noisy


def _touched(
    mask: np.ndarray, rate: float, n_classes: int, numbers: np.random.Generator
) -> tuple[np.ndarray, list[Thing], np.ndarray]:
    """Object number of each pixel (0: none), the objects, and which of them are touched: never the ground."""
    places, labels = objects(mask, n_classes)
    touched = numbers.random(len(labels)) < rate
    if len(labels):
        touched[np.bincount(places.ravel(), minlength=len(labels) + 1)[1:].argmax()] = False
    return places, list(_cut(places, labels)), touched


def _cut(places: np.ndarray, labels: np.ndarray) -> Iterator[Thing]:
    for number, (rows, columns) in enumerate(ndimage.find_objects(places)):
        yield Thing(places[rows, columns] == number + 1, rows.start, columns.start, int(labels[number]))


def _relabelled(mask: np.ndarray, places: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.where(places > 0, np.concatenate([[IGNORE], labels])[places], mask).astype(np.uint8)


def _lifted(mask: np.ndarray, places: np.ndarray, touched: np.ndarray) -> np.ndarray:
    """The mask without the touched objects; each of their pixels has the class of the nearest one that stays."""
    hole = np.concatenate([[False], touched])[places]
    return _closed(mask, hole, ~hole)


def _closed(mask: np.ndarray, hole: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The mask with the pixels of a hole taken from the nearest pixel of the source that has a class, if any has."""
    source = source & (mask != IGNORE)
    if not hole.any() or not source.any():
        return mask.copy()
    nearest = ndimage.distance_transform_edt(~source, return_distances=False, return_indices=True)
    noisy = mask.copy()
    noisy[hole] = mask[tuple(nearest[:, hole])]
    return noisy


def _paste_anywhere(mask: np.ndarray, shape: np.ndarray, where: np.ndarray, label: int) -> None:
    """Paints a shape with its middle at a place given in shares of the tile."""
    top, left = np.rint(where * mask.shape - np.array(shape.shape) / 2).astype(int)
    _paste(mask, shape, top, left, label)


def _paste(mask: np.ndarray, shape: np.ndarray, top: int, left: int, label: int) -> None:
    """Paints what lies inside the mask of a shape that begins at (top, left), and leaves ignored pixels ignored."""
    rows, columns = np.nonzero(shape)
    rows, columns = rows + top, columns + left
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    rows, columns = rows[inside], columns[inside]
    kept = mask[rows, columns] != IGNORE
    mask[rows[kept], columns[kept]] = label


def _turned(shape: np.ndarray, angle: float) -> np.ndarray:
    padded = np.pad(shape, 1).astype(np.uint8)  # else the outer half of its edge pixels would be outside
    turned: np.ndarray = ndimage.rotate(padded, angle, order=0).astype(bool)
    return turned


def _window(thing: Thing, size: tuple[int, ...], high: int, wide: int) -> tuple[slice, slice]:
    """The object's box and as much around it as the rectangle reaches, inside the tile."""
    bottom, right = thing.top + thing.shape.shape[0] + high, thing.left + thing.shape.shape[1] + wide
    rows = slice(max(0, thing.top - high), min(size[0], bottom))
    return rows, slice(max(0, thing.left - wide), min(size[1], right))


def _kernels(mask: np.ndarray, count: int, numbers: np.random.Generator) -> np.ndarray:
    """Height and width of a rectangle for each object, int64 [count, 2]; at least 3, so that it does something."""
    return np.maximum(3, np.rint(_scaled(1, mask) * numbers.integers(*_KERNEL, (count, 2)))).astype(int)


def _scaled(pixels: float, mask: np.ndarray) -> float:
    """A length on the published tile, on this one."""
    return pixels * min(mask.shape) / _TILE
