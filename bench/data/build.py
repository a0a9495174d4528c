"""Building an image store: decode in parallel, fingerprint, find duplicates."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from bench.data.decode import Header, Source, UnreadableError, decode_file, fit, read_header, read_values
from bench.data.duplicates import clusters, first_of_content, join_groups
from bench.data.raw import IGNORE, TRAIN, RawImages
from bench.data.values import HIGH, LOW, SAMPLE, ValueRange, describe_range, range_of
from bench.errors import UserError
from bench.store.keys import canonical_json, digest_bytes

T = TypeVar("T")

_CHUNK = 256  # images a process reads at a time
_PARALLEL_FROM = 12  # chunks from which starting processes pays
_SHOWN = 3  # files or sizes named in a message
_SHALLOW = (".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm")  # files of these kinds hold 8 bits a value


class Part(NamedTuple):
    """Some consecutive images, decoded; the unreadable ones are missing from all arrays but named."""

    pixels: np.ndarray  # uint8 [n, H, W, C]
    digests: np.ndarray  # uint8 [n, 32]: SHA-256 of each image
    moments: np.ndarray  # int64 [n, 2, C]: sum and sum of squares of each channel
    failures: dict[int, str]  # position among all images -> reason


def write_store(
    raw: RawImages,
    folder: Path,
    *,
    image_size: int | None,
    channels: int | None,
    on_error: str = "fail",
    value_range: tuple[float, float] | None = None,
) -> None:
    """Decodes the images, in parallel, into the files that `ImageStore.open` reads.

    Args:
        raw: what a reader found.
        folder: an empty folder, moved to its place by the caller when all is written.
        image_size: side in pixels, or None to keep the size that all images share.
        channels: 1, 3, or None for 1 where every image is grey, the bands of multi-band images, and 3 otherwise.
        on_error: "fail", or "skip" to leave unreadable images out.
        value_range: what becomes 0 and 255 in images of more than 8 bits; None: percentiles of each band over a
            sample of the images, of the official training images where there is such a split.

    Raises:
        UserError: fewer than two classes, unreadable images, or images of several sizes and no `image_size`.
    """
    _check_classes(raw)
    headers, failures = _headers(raw, image_size, channels)
    _check_failures(failures, raw, on_error)
    shape = _shape(headers, image_size, channels)
    values, note = _value_range(raw, headers, shape[2], value_range)
    digests, moments = [], []
    with (folder / "images.npy").open("wb") as file:
        _write_header(file, len(raw.paths), shape)
        for part in _in_parallel(_decode, raw, shape, image_size, values):
            file.write(part.pixels.data)  # plain writing is several times faster than filling a memory map page by page
            digests.append(part.digests)
            moments.append(part.moments)
            failures |= part.failures
        _check_failures(failures, raw, on_error)
        file.seek(0)
        _write_header(file, len(raw.paths) - len(failures), shape)
    np.save(folder / "moments.npy", np.concatenate(moments))
    _write_tables(raw, folder, np.concatenate(digests), shape, failures, (*raw.notes, *note))


def _check_classes(raw: RawImages) -> None:
    known = raw.labels[raw.labels >= 0] if raw.masks is None else raw.masks[raw.masks != IGNORE]
    counts = np.bincount(known, minlength=len(raw.class_names))
    found = [name for name, count in zip(raw.class_names, counts, strict=True) if count]
    where = raw.root if raw.pixels is None else "the set"
    if len(found) < 2:
        raise UserError(f"data: two classes or more are needed, but {where} has {found or 'none'}")


def _headers(raw: RawImages, image_size: int | None, channels: int | None) -> tuple[Counter[Header], dict[int, str]]:
    """How often each kind of image occurs, and the unreadable files; none is looked at where the options decide.

    They decide the shape of 8-bit images; images that may be deeper are always looked at.
    """
    if raw.pixels is not None:
        return Counter({Header(*raw.pixels.shape[1:]): len(raw.pixels)}), {}
    headers: Counter[Header] = Counter()
    failures: dict[int, str] = {}
    shallow = raw.packed is None and all(path.lower().endswith(_SHALLOW) for path in raw.paths)
    decided = image_size is not None and channels is not None
    if not (decided and shallow):
        for found, broken in _in_parallel(_look, raw):
            headers.update(found)
            failures |= broken
    return headers, {} if decided else failures  # decoding finds them all, with those that break further on


def _look(part: RawImages, start: int) -> tuple[list[Header], dict[int, str]]:
    return _attempt(len(part.paths), start, lambda item: read_header(source_of(part, item)))


def source_of(part: RawImages, item: int) -> Source:
    """The file of an image, or what that file would hold where it lies within a larger one."""
    if part.packed is not None and part.places is not None:
        return part.packed.read(part.places[item])
    return part.root / part.paths[item]


def _shape(headers: Counter[Header], image_size: int | None, channels: int | None) -> tuple[int, int, int]:
    """Height, width and channels of the store."""
    if channels is None:
        found = sorted({header.channels for header in headers})
        if len(found) > 1 and found != [1, 3]:
            raise UserError(f"data: the images have {', '.join(map(str, found))} bands; all must have the same")
        channels = found[-1]
    if image_size is not None:
        return image_size, image_size, channels
    sizes: Counter[tuple[int, int]] = Counter()
    for header, count in headers.items():
        sizes[header.height, header.width] += count
    if len(sizes) > 1:
        seen = ", ".join(f"{width} x {height} ({count})" for (height, width), count in sizes.most_common(_SHOWN))
        more = f" and {len(sizes) - _SHOWN} more" if len(sizes) > _SHOWN else ""
        raise UserError(f"data.image_size: needed, because the images have {len(sizes)} sizes: {seen}{more}")
    ((height, width),) = sizes
    return height, width, channels


def _write_header(file: BinaryIO, count: int, shape: tuple[int, int, int]) -> None:
    """The head of an .npy file; NumPy pads it so that its length does not depend on the count."""
    head = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(file, head)


def _value_range(
    raw: RawImages, headers: Counter[Header], channels: int, given: tuple[float, float] | None
) -> tuple[ValueRange | None, list[str]]:
    """What becomes 0 and 255 where images have more than 8 bits, and the rule in words; nothing where none has.

    The split is not known yet, so that the images of the sample are official training images or else any.
    """
    if not any(header.deep for header in headers):
        return None, []
    if given is not None:
        values = ValueRange(np.full(channels, given[0], np.float32), np.full(channels, given[1], np.float32))
        return values, [describe_range(values, "as data.value_range says")]
    allowed = np.arange(len(raw.paths)) if raw.official is None else np.flatnonzero(raw.official == TRAIN)
    pictures = []
    for item in allowed[np.unique(np.linspace(0, len(allowed) - 1, min(SAMPLE, len(allowed))).astype(int))]:
        try:
            source = source_of(raw, int(item))
            if read_header(source).deep:
                pictures.append(read_values(source, channels))
        except UnreadableError:
            continue  # named when it is decoded
    if not pictures:
        raise UserError("data.value_range: needed, because none of the images sampled has the 16 bits that others have")
    values = range_of(pictures)
    whose = "all images" if raw.official is None else "the training images"
    how = f"the {LOW:g} and {HIGH:g} % quantiles of each band over {len(pictures):,} of {whose}"
    return values, [describe_range(values, how)]


def _decode(
    part: RawImages, start: int, shape: tuple[int, int, int], image_size: int | None, values: ValueRange | None
) -> Part:
    def decode(item: int) -> np.ndarray:
        if part.pixels is not None:
            return _fit_array(part.pixels[item], shape)
        return decode_file(source_of(part, item), image_size, shape[2], values)

    decoded, failures = _attempt(len(part.paths), start, decode)
    pixels = np.stack(decoded) if decoded else np.empty((0, *shape), np.uint8)
    digests = b"".join(hashlib.sha256(image.data).digest() for image in pixels)
    moments = np.array([_moments(image) for image in pixels], np.int64).reshape(-1, 2, shape[2])
    return Part(pixels, np.frombuffer(digests, np.uint8).reshape(-1, 32), moments, failures)


def _fit_array(pixels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """An image that never was a file: uint8 [h, w, c] -> uint8 of the shape of the store."""
    if pixels.shape == shape:
        return pixels
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return fit(picture, None if pixels.shape[:2] == shape[:2] else shape[0], shape[2])


def _moments(image: np.ndarray) -> np.ndarray:
    """Sum and sum of squares of each channel: uint8 [H, W, C] -> int64 [2, C]."""
    channels = image.reshape(-1, image.shape[2]).T.astype(np.float64)  # exact: sums of bytes stay far below 2^53
    return np.stack([channels.sum(axis=1), np.einsum("cp,cp->c", channels, channels)]).astype(np.int64)


def _attempt(count: int, start: int, read: Callable[[int], T]) -> tuple[list[T], dict[int, str]]:
    """Reads the items below `count`; those that cannot be read come back as start + item, with the reason."""
    values, failures = [], {}
    for item in range(count):
        try:
            values.append(read(item))
        except UnreadableError as error:
            failures[start + item] = str(error)
    return values, failures


def _in_parallel(work: Callable[..., T], raw: RawImages, *arguments: object) -> Iterator[T]:
    """Runs work(part, start, *arguments) on consecutive parts of the images, in processes when it pays; in order.

    Processes, because decoding a small image is half Python; joblib's, because they need no guard in the user's script
    and do not fork a process that has threads.
    """
    starts = range(0, len(raw.paths), _CHUNK)
    if len(starts) < _PARALLEL_FROM:
        for start in starts:
            yield work(raw.part(start, start + _CHUNK), start, *arguments)
        return
    from joblib import Parallel, delayed  # a tenth of a second, which reopening a store need not wait for

    tasks = (delayed(work)(raw.part(start, start + _CHUNK), start, *arguments) for start in starts)
    yield from Parallel(n_jobs=-1, return_as="generator", max_nbytes=None, idle_worker_timeout=5)(tasks)


def _check_failures(failures: dict[int, str], raw: RawImages, on_error: str) -> None:
    if not failures or (on_error == "skip" and len(failures) < len(raw.paths)):
        return
    named = "; ".join(f"{raw.paths[index]} ({failures[index]})" for index in sorted(failures)[:_SHOWN])
    more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
    raise UserError(
        f"data.root: {len(failures)} of {len(raw.paths)} images cannot be used: {named}{more}\n"
        "data.on_error: skip leaves such images out, named and counted"
    )


def _write_tables(
    raw: RawImages,
    folder: Path,
    digests: np.ndarray,
    shape: tuple[int, int, int],
    failures: dict[int, str],
    notes: tuple[str, ...],
) -> None:
    kept = np.array([index for index in range(len(raw.paths)) if index not in failures], np.int64)
    labels = raw.labels[kept].astype(np.int64)
    contents = first_of_content(digests)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "contents.npy", contents)
    np.save(folder / "groups.npy", _groups(raw, kept, contents))
    if raw.official is not None:
        np.save(folder / "official.npy", raw.official[kept].astype(np.int8))
    (folder / "paths.json").write_text(json.dumps([raw.paths[index] for index in kept]), encoding="utf-8")
    head = canonical_json({"shape": shape, "class_names": raw.class_names}).encode()
    dense = b"" if raw.masks is None else _write_masks(raw.masks[kept], raw, folder, kept)
    card = {
        "class_names": raw.class_names,
        "fingerprint": digest_bytes(head + digests.tobytes() + labels.tobytes() + dense),
        "skipped": [*raw.left_out, *((raw.paths[index], failures[index]) for index in sorted(failures))],
        "notes": notes,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1), encoding="utf-8")


def _groups(raw: RawImages, kept: np.ndarray, contents: np.ndarray) -> np.ndarray:
    """What stays on one side of a split: identical images, and the groups that the reader gives.

    Chips of scenes keep the groups of their scenes: blank chips, which many scenes have, would weld them together.
    """
    if raw.groups is None:
        return clusters(contents)
    groups = raw.groups[kept].astype(np.int64)
    return groups if raw.masks is not None else join_groups(groups, contents)


def _write_masks(masks: np.ndarray, raw: RawImages, folder: Path, kept: np.ndarray) -> bytes:
    """Writes masks [N, H, W], where chips come from, and pixels per class; returns a digest of the masks."""
    np.save(folder / "masks.npy", masks)
    if raw.boxes is not None:
        np.save(folder / "boxes.npy", raw.boxes[kept])
    classes = np.arange(len(raw.class_names))
    np.save(folder / "histograms.npy", np.stack([(masks == label).sum((1, 2)) for label in classes], 1))
    return hashlib.sha256(np.ascontiguousarray(masks).data).digest()
