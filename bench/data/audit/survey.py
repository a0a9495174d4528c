"""One pass over the images: every file read and decoded once, and what the checks need of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image

from bench.data.decode import UnreadableError, decode_file, read_header, read_values
from bench.data.near import grey_copies, perceptual_hashes
from bench.data.raw import RawImages

SIDE = 24  # of the small copies, in pixels
_CHUNK = 256
_PARALLEL_FROM = 8  # chunks from which starting processes pays


@dataclass(frozen=True)
class Survey:
    """What is known of N readable images.

    Attributes:
        rows: int64 [N], their places in the listing.
        paths: their names.
        labels: int64 [N], -1 = unlabelled.
        class_names: in the order of the labels.
        official: int8 [N], codes of `bench.data.raw`; None where no split is given.
        groups: int64 [N], as given; None where none are.
        sizes: int64 [N, 3], pixels down, pixels across, channels.
        files: S32 [N], SHA-256 of the bytes of the file; of the pixels where images are no files.
        pixels: S32 [N], SHA-256 of size and decoded pixels.
        hashes: uint64 [N], perceptual hash.
        greys: uint16 [N, S, S], small grey copies by which images with close hashes are compared.
        thumbs: uint8 [N, SIDE, SIDE, 3], small copies, the sides not in proportion.
        broken: unreadable files, each with the reason.
        as_files: whether the images are files.
        masked: whether every pixel has a class; the images are then taken for unlabelled.
    """

    rows: np.ndarray
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    official: np.ndarray | None
    groups: np.ndarray | None
    sizes: np.ndarray
    files: np.ndarray
    pixels: np.ndarray
    hashes: np.ndarray
    greys: np.ndarray
    thumbs: np.ndarray
    broken: tuple[tuple[str, str], ...] = field(default=())
    as_files: bool = True
    masked: bool = False

    def label_name(self, row: int) -> str:
        """The class of an image in words."""
        label = int(self.labels[row])
        return "unlabelled" if label < 0 else self.class_names[label]


class _Seen(NamedTuple):
    size: tuple[int, ...]
    file: bytes
    pixels: bytes
    hash: int
    grey: np.ndarray
    thumb: np.ndarray


def survey(raw: RawImages) -> Survey:
    """Reads and decodes every image, in processes where that pays; the result does not depend on how many.

    Images with a class for every pixel are surveyed as unlabelled: their label is only what most of an image shows.
    """
    seen: list[_Seen] = []
    rows: list[int] = []
    broken = list(raw.left_out)
    for start, part in zip(range(0, len(raw.paths), _CHUNK), _parts(raw), strict=True):
        for offset, item in enumerate(part):
            if isinstance(item, str):
                broken.append((raw.paths[start + offset], item))
            else:
                rows.append(start + offset)
                seen.append(item)
    kept = np.array(rows, np.int64)
    return Survey(
        rows=kept,
        paths=tuple(raw.paths[row] for row in rows),
        labels=raw.labels[kept] if raw.masks is None else np.full(len(kept), -1),
        class_names=raw.class_names,
        official=None if raw.official is None else raw.official[kept],
        groups=None if raw.groups is None else raw.groups[kept],
        sizes=np.array([item.size for item in seen], np.int64).reshape(-1, 3),
        files=np.array([item.file for item in seen], "S32"),
        pixels=np.array([item.pixels for item in seen], "S32"),
        hashes=np.array([item.hash for item in seen], np.uint64),
        greys=np.array([item.grey for item in seen], np.uint16),
        thumbs=np.array([item.thumb for item in seen], np.uint8).reshape(-1, SIDE, SIDE, 3),
        broken=tuple(broken),
        as_files=raw.pixels is None,
        masked=raw.masks is not None,
    )


def _parts(raw: RawImages) -> Iterator[list[_Seen | str]]:
    starts = range(0, len(raw.paths), _CHUNK)
    parts = (raw.part(start, start + _CHUNK) for start in starts)
    if len(starts) < _PARALLEL_FROM:
        yield from map(_look, parts)
        return
    from joblib import Parallel, delayed  # a tenth of a second, which a small folder need not wait for

    tasks = (delayed(_look)(part) for part in parts)
    yield from Parallel(n_jobs=-1, return_as="generator", max_nbytes=None, idle_worker_timeout=5)(tasks)


def _look(part: RawImages) -> list[_Seen | str]:
    """Each image of the part, or the reason why it cannot be read."""
    return [_look_at(part, item) for item in range(len(part.paths))]


def _look_at(part: RawImages, item: int) -> _Seen | str:
    if part.pixels is not None:
        return _describe(part.pixels[item], part.pixels[item].tobytes())
    try:
        data = read_bytes(part, item)
        return _describe(decode_whole(data), data)
    except UnreadableError as error:
        return str(error)
    except OSError as error:
        return error.strerror or type(error).__name__


def read_bytes(raw: RawImages, item: int) -> bytes:
    """The file of an image, or what a larger file holds of it."""
    if raw.packed is not None and raw.places is not None:
        return raw.packed.read(raw.places[item])
    return (raw.root / raw.paths[item]).read_bytes()


def decode_whole(data: bytes) -> np.ndarray:
    """An image as it is, in its own size and depth: [H, W, C].

    Raises:
        UnreadableError: no image, damaged, cut short, or of a kind that cannot be used.
    """
    header = read_header(data)
    if header.deep or header.channels not in (1, 3):
        return read_values(data, header.channels)
    return decode_file(data, None, header.channels)


def picture_of(pixels: np.ndarray) -> Image.Image:
    """An image [H, W, C] as people see it: one or the first three bands; more than 8 bits fill the range of its own."""
    bands = pixels[:, :, 0] if pixels.shape[2] < 3 else pixels[:, :, :3]
    if bands.dtype != np.uint8:
        low, high = float(bands.min()), float(bands.max())
        bands = np.rint((bands - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(bands))


def _describe(pixels: np.ndarray, data: bytes) -> _Seen:
    picture = picture_of(pixels)
    shown = np.asarray(picture).reshape(1, picture.height, picture.width, -1)
    return _Seen(
        size=pixels.shape,
        file=_digest(data),
        pixels=_digest(repr((pixels.shape, pixels.dtype.str)).encode() + np.ascontiguousarray(pixels).tobytes()),
        hash=int(perceptual_hashes(shown)[0]),
        grey=grey_copies(shown)[0],
        thumb=np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)),
    )


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:31] + b"\x01"  # NumPy's S type drops trailing zeros
