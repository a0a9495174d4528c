"""Decoding many images: part by part, in threads, or in several processes where it pays."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from bench.data.decode import Header, Source, UnreadableError, decode_file, fit
from bench.data.raw import RawImages
from bench.data.values import ValueRange

T = TypeVar("T")

_CHUNK = 256  # images a process reads at a time
_THREADS = 4  # more wait for each other
_GROUPS = 16  # of the images of a chunk: the memory that their squares take at a time
_PARALLEL_FROM = 2.0  # seconds of work that is left from which starting processes pays


class Part(NamedTuple):
    """Some consecutive images, decoded; the unreadable ones are missing from all arrays but named."""

    pixels: np.ndarray  # uint8 [n, H, W, C]
    digests: np.ndarray  # uint8 [n, 32]: SHA-256 of each image
    moments: np.ndarray  # int64 [n, 2, C]: sum and sum of squares of each channel
    failures: dict[int, str]  # position among all images -> reason


class Decoding(NamedTuple):
    """How images become bytes of one shape (height, width, channels)."""

    shape: tuple[int, int, int]
    image_size: int | None
    values: ValueRange | None  # what becomes 0 and 255 in images of more than 8 bits
    like: Header | None  # the header that every image must have; None: any


def source_of(part: RawImages, item: int) -> Source:
    """The file of an image, or what that file would hold where it lies within a larger one."""
    if part.packed is not None and part.places is not None:
        return part.packed.read(part.places[item])
    return f"{part.root}/{part.paths[item]}"  # a Path of each takes a tenth of the time of decoding a small one


def decode_part(part: RawImages, start: int, plan: Decoding) -> Part:
    """Decodes consecutive images, of which the first is number `start` of all."""
    shape = plan.shape

    def read(item: int) -> np.ndarray:
        if part.pixels is not None:
            return _fit_array(part.pixels[item], shape)
        return decode_file(source_of(part, item), plan.image_size, shape[2], plan.values, plan.like)

    decoded, failures = attempt(len(part.paths), start, read)
    pixels = np.stack(decoded) if decoded else np.empty((0, *shape), np.uint8)
    digests = b"".join(hashlib.sha256(image.data).digest() for image in pixels)
    moments = np.concatenate([_moments(some) for some in np.array_split(pixels, _GROUPS)])
    return Part(pixels, np.frombuffer(digests, np.uint8).reshape(-1, 32), moments, failures)


def _fit_array(pixels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """An image that never was a file: uint8 [h, w, c] -> uint8 of the shape of the store."""
    if pixels.shape == shape:
        return pixels
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return fit(picture, None if pixels.shape[:2] == shape[:2] else shape[0], shape[2])


def _moments(images: np.ndarray) -> np.ndarray:
    """Sum and sum of squares of each channel of each image: uint8 [n, H, W, C] -> int64 [n, 2, C]."""
    n, height, width, channels = images.shape
    exact = np.uint32 if height < 2**16 else np.uint64  # holds the squares of a column
    rows = images.reshape(n, height, width * channels).astype(exact)
    columns = np.stack([np.add.reduce(each, axis=1, dtype=exact) for each in (rows, rows * rows)], axis=1)
    return columns.reshape(n, 2, width, channels).sum(axis=2, dtype=np.int64)


def attempt(count: int, start: int, read: Callable[[int], T]) -> tuple[list[T], dict[int, str]]:
    """Reads the items below `count`; those that cannot be read come back as start + item, with the reason."""
    values, failures = [], {}
    for item in range(count):
        try:
            values.append(read(item))
        except UnreadableError as error:
            failures[start + item] = str(error)
    return values, failures


def in_parallel(work: Callable[..., T], raw: RawImages, *arguments: object) -> Iterator[T]:
    """Runs work(part, start, *arguments) on consecutive parts of the images, side by side; in order.

    In threads at first, which cost nothing to start and overlap reading and decoding, and in processes as soon as it is
    clear that much is left, because decoding a small image is half Python; joblib's, because they need no guard in the
    user's script and do not fork a process that has threads.
    """
    starts, begun, done = range(0, len(raw.paths), _CHUNK), time.perf_counter(), 0
    threads = 1 if raw.packed is not None else min(_THREADS, os.cpu_count() or 1)  # larger files may be kept open
    waiting: deque[Future[T]] = deque()
    much = False
    with ThreadPoolExecutor(threads) as pool:
        while waiting or (starts and not much):
            while starts and not much and len(waiting) <= threads:
                waiting.append(pool.submit(_run, work, raw, starts[0], *arguments))
                starts = starts[1:]
            yield waiting.popleft().result()
            done += 1
            if done % threads == 0:  # in between, work that is half done would count as not begun
                much = (time.perf_counter() - begun) / done * len(starts) > _PARALLEL_FROM
    if not starts:
        return
    from joblib import Parallel, delayed  # a tenth of a second, which reopening a store need not wait for

    tasks = (delayed(work)(raw.part(start, start + _CHUNK), start, *arguments) for start in starts)
    yield from Parallel(n_jobs=-1, return_as="generator", max_nbytes=None, idle_worker_timeout=5)(tasks)


def _run(work: Callable[..., T], raw: RawImages, start: int, *arguments: object) -> T:
    return work(raw.part(start, start + _CHUNK), start, *arguments)
