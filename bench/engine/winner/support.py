"""The support of a few-shot winner: a folder of images for each new class, masks beside them where they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from bench.data.decode import UnreadableError, open_image
from bench.data.listing import list_images
from bench.data.shape import ImageShape
from bench.engine.winner.answers import decode
from bench.engine.winner.chips import chip_of
from bench.errors import UserError

MASK = "_mask"  # behind the stem of an image: its mask, NAME_mask.png
MOST_CLASSES = 255  # an index mask holds one number more
_TWO_BANDS = {"LA", "La", "PA"}


class Shown(NamedTuple):
    """One new class: its name, images uint8 [K, H, W, C], and bool [K, H, W] where they show it; None: not read."""

    name: str
    images: np.ndarray
    masks: np.ndarray | None


class Read(NamedTuple):
    """The classes of a support, by name, and what to say of it."""

    classes: tuple[Shown, ...]
    notes: tuple[str, ...]


def read_support(folder: Path, given: Mapping[str, Any], with_masks: bool) -> Read:
    """Reads SUPPORT/CLASS/NAME.png, and SUPPORT/CLASS/NAME_mask.png where masks are read: 0 is background.

    Args:
        folder: SUPPORT.
        given: how an image becomes what the network reads, as the card says.
        with_masks: whether the network is told where a support image shows its class.

    Raises:
        UserError: no folder, no class in it, a class without an image, an image or a mask that cannot be read or does
            not fit.
    """
    if not folder.is_dir():
        raise UserError(f"--support: no folder {str(folder)!r}")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise UserError(f"--support: no class in {str(folder)!r}; valid: a folder of images for each class")
    if len(names) > MOST_CLASSES:
        raise UserError(f"--support: {len(names)} classes in {str(folder)!r}; valid: up to {MOST_CLASSES}")
    classes, unread = [], 0
    for name in names:
        paths, masks = _files(folder, name)
        unread += 0 if with_masks else len(masks)
        classes.append(_class(folder, name, paths, masks if with_masks else None, given))
    note = f"{unread} masks in {str(folder)!r} are not read: this winner makes the masks of its support itself"
    return Read(tuple(classes), (note,) if unread else ())


def _files(folder: Path, name: str) -> tuple[list[str], dict[str, str]]:
    """Images of a class, and its masks by the stem of the image that they belong to; relative to the class folder."""
    paths = sorted(file.path for file in list_images(folder / name))
    stems = {path: str(PurePosixPath(path).with_suffix("")) for path in paths}
    masks = {stem.removesuffix(MASK): path for path, stem in stems.items() if stem.endswith(MASK)}
    images = [path for path in paths if path not in masks.values()]
    if not images:
        raise UserError(f"--support: no image of the class {name!r} in {str(folder / name)!r}")
    lone = sorted(set(masks) - {stems[path] for path in images})
    if lone:
        raise UserError(f"--support: {f'{name}/{masks[lone[0]]}'!r} is the mask of no image; valid: NAME{MASK}.png")
    return images, masks


def _class(
    folder: Path, name: str, paths: list[str], masks: Mapping[str, str] | None, given: Mapping[str, Any]
) -> Shown:
    images, found = [], []
    for path in paths:
        picture = _picture(folder, f"{name}/{path}", given)
        images.append(_fitted(picture, given))
        if masks is not None:
            stem = PurePosixPath(path).with_suffix("")
            if str(stem) not in masks:
                wanted = f"{name}/{stem}{MASK}.png"
                raise UserError(
                    f"--support: no mask {wanted!r} beside {f'{name}/{path}'!r}; this winner learned from masks"
                )
            found.append(_mask(folder, f"{name}/{masks[str(stem)]}", picture, given))
    return Shown(name, np.stack(images), np.stack(found) if masks is not None else None)


def _picture(folder: Path, path: str, given: Mapping[str, Any]) -> np.ndarray:
    """A support image in its own size, uint8 [H, W, C]: that of a chip, where the network's images were not resized."""
    try:
        picture = decode(folder / path, given, None)
    except UnreadableError as error:
        raise UserError(f"--support: {path!r} cannot be read: {error}") from error
    cut, (height, width) = given["cut"], picture.shape[:2]
    if cut is not None and (height, width) != (cut["height"], cut["width"]):
        raise UserError(
            f"--support: {path!r} is {height} x {width} pixels; valid: {cut['height']} x {cut['width']}, as the images "
            "that this winner learned from"
        )
    return picture


def _fitted(picture: np.ndarray, given: Mapping[str, Any]) -> np.ndarray:
    height, width = picture.shape[:2]
    return chip_of(picture, (0, 0, width, height), ImageShape(given["channels"], given["height"], given["width"]))


def _mask(folder: Path, path: str, picture: np.ndarray, given: Mapping[str, Any]) -> np.ndarray:
    """Where an image shows its class, bool [H, W] in the network's size, by the nearest as the data set's masks."""
    try:
        with open_image(folder / path) as image:
            inside = _inside(image)
    except Exception as error:  # a broken file can raise anything in a decoder
        said = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"--support: {path!r} cannot be read: {said}") from error
    if inside.shape != picture.shape[:2]:
        height, width = inside.shape
        raise UserError(
            f"--support: {path!r} is {height} x {width} pixels, its image {picture.shape[0]} x {picture.shape[1]}"
        )
    if not inside.any():
        raise UserError(f"--support: {path!r} marks no pixel; valid: 0 for background, anything else for the class")
    size = (given["width"], given["height"])
    return np.asarray(Image.fromarray(inside.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)) > 0


def _inside(image: Image.Image) -> np.ndarray:
    """Pixels that are not 0, bool [H, W]; of colours those that are not black; transparency says nothing."""
    if image.mode in _TWO_BANDS:
        return np.asarray(image)[..., 0] > 0
    if image.mode == "RGBA":
        image = image.convert("RGB")
    values = np.asarray(image)
    return values > 0 if values.ndim == 2 else (values > 0).any(2)
