"""Building an image store: decode in parallel, fingerprint, find duplicates."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bench.data.decode import Header, UnlikeError, UnreadableError, read_header, read_values
from bench.data.duplicates import clusters, first_of_content, join_groups
from bench.data.parts import Decoding, attempt, decode_part, in_parallel, source_of
from bench.data.raw import IGNORE, TRAIN, RawImages
from bench.data.values import HIGH, LOW, SAMPLE, ValueRange, describe_range, range_of
from bench.errors import UserError
from bench.store.keys import canonical_json, digest_bytes

_SHOWN = 3  # files or sizes named in a message
_SHALLOW = (".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm")  # files of these kinds hold 8 bits a value


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
    plan, notes = _plan_of_like_images(raw, image_size, channels), list(raw.notes)
    written = None if plan is None else _write_like_images(raw, folder, plan, on_error)
    if plan is None or written is None:  # images of several kinds: every header is read before any image is decoded
        headers, failures = _headers(raw, image_size, channels)
        _check_failures(failures, raw, on_error)
        shape = _shape(headers, image_size, channels)
        values, note = _value_range(raw, headers, shape[2], value_range)
        plan = Decoding(shape, image_size, values, None)
        written = _write_images(raw, folder, plan, on_error, failures)
        notes += note
    _write_tables(raw, folder, plan.shape, *written, tuple(notes))


def _plan_of_like_images(raw: RawImages, image_size: int | None, channels: int | None) -> Decoding | None:
    """How to decode where all images may well be like the first, so that no header need be read beforehand.

    None where they need not be alike (a size is asked for), were never files, or the first has more than 8 bits.
    """
    if image_size is not None or raw.pixels is not None:
        return None
    try:
        first = read_header(source_of(raw, 0))
    except UnreadableError:
        return None
    if first.deep or first.channels not in (1, 3):
        return None
    return Decoding(_shape(Counter([first]), None, channels), None, None, first)


def _write_like_images(
    raw: RawImages, folder: Path, plan: Decoding, on_error: str
) -> tuple[np.ndarray, dict[int, str]] | None:
    """As `_write_images`; None, the files half written, as soon as an image turns out to be unlike the others."""
    try:
        return _write_images(raw, folder, plan, on_error, {})
    except UnlikeError:
        return None


def _write_images(
    raw: RawImages, folder: Path, plan: Decoding, on_error: str, failures: dict[int, str]
) -> tuple[np.ndarray, dict[int, str]]:
    """Writes the images and their moments; returns the digests [n, 32] and what cannot be read, with `failures`."""
    digests, moments = [], []
    with (folder / "images.npy").open("wb") as file:
        _write_header(file, len(raw.paths), plan.shape)
        for part in in_parallel(decode_part, raw, plan):
            file.write(part.pixels.data)  # plain writing is several times faster than filling a memory map page by page
            digests.append(part.digests)
            moments.append(part.moments)
            failures = failures | part.failures
        _check_failures(failures, raw, on_error)
        file.seek(0)
        _write_header(file, len(raw.paths) - len(failures), plan.shape)
    np.save(folder / "moments.npy", np.concatenate(moments))
    return np.concatenate(digests), failures


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
        for found, broken in in_parallel(_look, raw):
            headers.update(found)
            failures |= broken
    return headers, {} if decided else failures  # decoding finds them all, with those that break further on


def _look(part: RawImages, start: int) -> tuple[list[Header], dict[int, str]]:
    return attempt(len(part.paths), start, lambda item: read_header(source_of(part, item)))


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
    shape: tuple[int, int, int],
    digests: np.ndarray,
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
