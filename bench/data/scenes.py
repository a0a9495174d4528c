"""Images with a class for every pixel: read in pairs with their masks, cut into chips, put together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from bench.data.decode import UnreadableError, open_image, read_header
from bench.data.palette import Palette
from bench.data.raw import IGNORE, RawImages
from bench.errors import UserError

MOST_BYTES = 16 * 2**30  # of all chips together
_SHOWN = 3  # files named in a message


@dataclass(frozen=True)
class Scene:
    """An image and its mask, of one size; `group` is shared by scenes that must stay on one side of a split."""

    name: str
    image: Path
    mask: Path
    group: int
    official: int | None = None


class Cut(NamedTuple):
    """The chips of a scene: uint8 [n, S, S, C] and [n, S, S], and int64 [n, 3]: top, left and side in its pixels."""

    pixels: np.ndarray
    masks: np.ndarray
    places: np.ndarray


def read_scenes(
    scenes: Sequence[Scene],
    palette: Palette,
    *,
    chip: int | None,
    overlap: int,
    image_size: int | None,
    channels: int | None,
    on_error: str,
) -> RawImages:
    """Reads the scenes, in parallel, as chips (or whole) of one size with the class of every pixel.

    Args:
        scenes: pairs of files.
        palette: what the mask files mean.
        chip: side of a chip in pixels of its scene; None: scenes are taken whole, resized without regard to aspect.
        overlap: pixels that neighbouring chips share, at least; the last of a row is moved back to the border.
        image_size: side in pixels that chips or scenes are resized to; None: a chip keeps its own.
        channels: 1 or 3; None: 3.
        on_error: "fail", or "skip" to leave out scenes that cannot be read.

    Raises:
        UserError: no size is given, a chip is larger than a scene, a pair cannot be read, or all chips are too many.
    """
    side = image_size or chip
    if side is None:
        raise UserError("data.image_size: needed, or data.chip, because scenes have sizes of their own")
    if chip is not None and not 0 <= overlap < chip:
        raise UserError(f"data.overlap: {overlap} pixels between chips of {chip}; valid: 0 to {chip - 1}")
    _check_chips(scenes, chip, overlap, side)
    cuts: list[Cut] = []
    kept: list[Scene] = []
    failures: dict[str, str] = {}
    for scene, cut in zip(scenes, _in_parallel(scenes, palette, chip, overlap, side, channels or 3), strict=True):
        if isinstance(cut, str):
            failures[scene.name] = cut
        else:
            cuts.append(cut)
            kept.append(scene)
    if failures and (on_error == "fail" or not cuts):
        raise _unreadable(failures, len(scenes))
    return _raw(kept, cuts, palette, whole=chip is None)


def cut_scene(scene: Scene, palette: Palette, chip: int | None, overlap: int, side: int, channels: int) -> Cut | str:
    """The chips of one scene; why it cannot be read, where it cannot."""
    try:
        with open_image(scene.image) as image, open_image(scene.mask) as mask:
            if image.size != mask.size:
                return f"the image has {image.width} x {image.height} pixels, its mask {mask.width} x {mask.height}"
            classes = Image.fromarray(palette.read(mask))
            picture = image.convert("L" if channels == 1 else "RGB")
    except UnreadableError as error:
        return str(error)
    except Exception as error:  # a broken file can raise anything in a decoder
        return " ".join(str(error).split()) or type(error).__name__
    boxes = _boxes(picture.size, chip, overlap)
    pixels = [np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, box=box)) for box in boxes]
    masks = [np.asarray(classes.resize((side, side), Image.Resampling.NEAREST, box=box)) for box in boxes]
    places = [(top, left, chip or max(picture.size)) for left, top, _, _ in boxes]
    stacked = np.stack(pixels)
    return Cut(stacked if stacked.ndim == 4 else stacked[..., None], np.stack(masks), np.array(places, np.int64))


def starts(length: int, chip: int, overlap: int) -> list[int]:
    """Where chips begin along a side: every chip - overlap pixels, the last one at the border; they leave no gap."""
    last = length - chip
    return [*range(0, last, chip - overlap), last]


def _boxes(size: tuple[int, int], chip: int | None, overlap: int) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of the chips of a scene of (width, height), row by row."""
    width, height = size
    if chip is None:
        return [(0, 0, width, height)]
    return [
        (left, top, left + chip, top + chip)
        for top in starts(height, chip, overlap)
        for left in starts(width, chip, overlap)
    ]


def _check_chips(scenes: Sequence[Scene], chip: int | None, overlap: int, side: int) -> None:
    """Looks at the headers only, so that a mistake is known before anything is decoded."""
    count = 0
    for scene in scenes:
        try:
            header = read_header(scene.image)
        except UnreadableError:
            continue  # told with the others when it is read
        if chip is not None and chip > min(header.height, header.width):
            raise UserError(
                f"data.chip: {chip} pixels is larger than {scene.name} ({header.width} x {header.height}); "
                f"valid: up to {min(header.height, header.width)}"
            )
        count += len(_boxes((header.width, header.height), chip, overlap))
    if count * side * side * 4 > MOST_BYTES:
        raise UserError(
            f"data.chip: {count:,} chips of {side} x {side} pixels are more than {MOST_BYTES >> 30} GiB; take a larger "
            "chip or a smaller image_size"
        )


def _in_parallel(scenes: Sequence[Scene], *arguments: object) -> Iterator[Cut | str]:
    from joblib import Parallel, delayed  # a tenth of a second, which reopening a store need not wait for

    tasks = (delayed(cut_scene)(scene, *arguments) for scene in scenes)
    yield from Parallel(n_jobs=-1, return_as="generator", max_nbytes=None, idle_worker_timeout=5)(tasks)


def _unreadable(failures: dict[str, str], count: int) -> UserError:
    named = "; ".join(f"{name} ({reason})" for name, reason in list(failures.items())[:_SHOWN])
    more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
    return UserError(
        f"data.root: {len(failures)} of {count} scenes cannot be used: {named}{more}\n"
        "data.on_error: skip leaves such scenes out"
    )


def _raw(scenes: Sequence[Scene], cuts: Sequence[Cut], palette: Palette, whole: bool) -> RawImages:
    counts = [len(cut.places) for cut in cuts]
    masks = np.concatenate([cut.masks for cut in cuts])
    places = np.concatenate([cut.places for cut in cuts])
    scene_numbers = np.repeat(np.arange(len(scenes)), counts)
    names = np.repeat([scene.name for scene in scenes], counts)
    paths = [str(name) if whole else f"{name}@{p[0]},{p[1]}" for name, p in zip(names, places, strict=True)]
    official = [scene.official for scene in scenes]
    codes = np.array([-1 if code is None else code for code in official], np.int8)
    return RawImages(
        paths=tuple(paths),
        labels=majority(masks, len(palette.classes)),
        class_names=tuple(palette.classes),
        pixels=np.concatenate([cut.pixels for cut in cuts]),
        groups=np.repeat([scene.group for scene in scenes], counts),
        official=None if (codes < 0).any() else np.repeat(codes, counts),
        masks=masks,
        boxes=None if whole else np.column_stack([scene_numbers, places]),
    )


def majority(masks: np.ndarray, n_classes: int) -> np.ndarray:
    """The class that most pixels of each mask have, int64 [N]; -1 where all are ignored."""
    counts = np.stack([(masks == label).sum((1, 2)) for label in range(n_classes)], 1)
    return np.where((masks != IGNORE).any((1, 2)), counts.argmax(1), -1)
