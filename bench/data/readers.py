"""Readers of the published data sets, through scikit-learn and torchvision, which are imported only when needed."""

from __future__ import annotations

import gzip
import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np

from bench.data.raw import TEST, TRAIN, RawImages
from bench.data.source import PLACES, download_cache, files_folder
from bench.errors import UserError
from bench.study.spec import DataSpec

T = TypeVar("T")

_MOST_UNPACKED = 64 << 20  # bytes; the largest file of Fashion-MNIST has 45 MiB
_DIGIT_BLOCKS = 13  # scikit-learn's digits lie in runs of one writer; blocks of about 138 keep most runs whole


def read_digits(spec: DataSpec) -> RawImages:
    """scikit-learn's 1,797 digits, 8 x 8 grey, grouped by contiguous block; no official split."""
    files_folder(spec)  # says so when a root is given
    values, labels = _digits()
    count = len(values)
    return RawImages(
        paths=tuple(f"digits/{index}" for index in range(count)),
        labels=labels.astype(np.int64),
        class_names=tuple(map(str, range(10))),
        pixels=np.rint(values.reshape(count, 8, 8) * (255 / 16)).astype(np.uint8)[..., None],
        groups=np.arange(count) * _DIGIT_BLOCKS // count,
    )


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Values in 0 to 16, [1797, 64], and labels; from scikit-learn's file, as importing its readers takes 2 seconds."""
    found = importlib.util.find_spec("sklearn")
    for folder in (found and found.submodule_search_locations) or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits  # of a version that keeps its file elsewhere

    values, labels = load_digits(return_X_y=True)
    return values, labels


def read_fashion_mnist(spec: DataSpec) -> RawImages:
    """Fashion-MNIST, 60,000 + 10,000, 28 x 28 grey; packed files under a given root are unpacked elsewhere."""
    from torchvision.datasets import FashionMNIST

    def load(root: Path, download: bool) -> RawImages:
        parts = [FashionMNIST(root, train=train, download=download) for train in (True, False)]
        return _two_arrays([(part.data.numpy()[..., None], part.targets.numpy()) for part in parts], parts[0].classes)

    folder = files_folder(spec)
    if folder is None:
        return _from_cache(spec.name, load)
    with tempfile.TemporaryDirectory() as temporary:
        unpacked = Path(temporary) / PLACES[spec.name].folder
        unpacked.mkdir(parents=True)
        for name, _ in FashionMNIST.resources:
            _unpack(folder, name.removesuffix(".gz"), unpacked)
        return load(Path(temporary), False)


def read_cifar10(spec: DataSpec) -> RawImages:
    """CIFAR-10, 50,000 + 10,000, 32 x 32 RGB."""
    from torchvision.datasets import CIFAR10

    def load(root: Path, download: bool) -> RawImages:
        parts = [CIFAR10(root, train=train, download=download) for train in (True, False)]
        return _two_arrays([(part.data, np.asarray(part.targets)) for part in parts], parts[0].classes)

    return from_root(spec, load)


def read_stl10(spec: DataSpec) -> RawImages:
    """STL-10, 96 x 96 RGB: 5,000 labelled and 100,000 unlabelled images to train on, 8,000 to test."""
    from torchvision.datasets import STL10

    def load(root: Path, download: bool) -> RawImages:
        parts = [STL10(root, split=split, download=download) for split in ("train+unlabeled", "test")]
        return _two_arrays([(part.data.transpose(0, 2, 3, 1), part.labels) for part in parts], parts[0].classes)

    return from_root(spec, load)


def read_eurosat(spec: DataSpec) -> RawImages:
    """EuroSAT, 27,000 JPEG images, 64 x 64 RGB; no official split."""
    from torchvision.datasets import EuroSAT

    def load(root: Path, download: bool) -> RawImages:
        images = EuroSAT(root, download=download)
        folder = root / PLACES[spec.name].folder
        paths, labels = zip(*images.samples, strict=True)
        return RawImages(
            paths=tuple(os.path.relpath(path, folder) for path in paths),
            labels=np.asarray(labels, np.int64),
            class_names=tuple(images.classes),
            root=folder,
        )

    return from_root(spec, load)


def _two_arrays(parts: list[tuple[np.ndarray, np.ndarray]], class_names: list[str]) -> RawImages:
    """Train and test arrays ([N, H, W, C], [N]) as one set with an official split."""
    sizes = [len(labels) for _, labels in parts]
    return RawImages(
        paths=tuple(
            f"{name}/{index}" for name, size in zip(("train", "test"), sizes, strict=True) for index in range(size)
        ),
        labels=np.concatenate([labels for _, labels in parts]).astype(np.int64),
        class_names=tuple(class_names),
        pixels=np.concatenate([pixels for pixels, _ in parts]),
        official=np.repeat(np.array([TRAIN, TEST], np.int8), sizes),
    )


def from_root(spec: DataSpec, load: Callable[[Path, bool], T]) -> T:
    """Reads under the user's root, never writing to it, or under the download cache.

    Raises:
        UserError: the files under the root are not those of the data set, or the download failed.
    """
    if files_folder(spec) is None:
        return _from_cache(spec.name, load)
    root = Path(str(spec.root)).expanduser().resolve()
    try:
        return load(root, False)
    except (RuntimeError, OSError) as error:
        raise UserError(f"data.root: {str(root)!r} does not hold {spec.name} ({_one_line(error)})") from error


def _from_cache(name: str, load: Callable[[Path, bool], T]) -> T:
    """Reads under the download cache; what is not there yet is downloaded beside it and moved there whole.

    Raises:
        UserError: the download failed.
    """
    cache = download_cache(name)
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.parent) as temporary:
            files = Path(temporary) / "files"
            try:
                files.mkdir()
                load(files, True)
            except (RuntimeError, OSError) as error:
                place = f"<data.root>/{PLACES[name].folder}"
                raise UserError(
                    f"data.name: {name} could not be downloaded ({_one_line(error)}); put its files under {place}"
                ) from error
            if not cache.exists():
                os.rename(files, cache)
    return load(cache, False)


def _unpack(folder: Path, name: str, target: Path) -> None:
    """Puts the file `name`, or what `name`.gz holds, into the target folder.

    Raises:
        UserError: neither is there, or the packed file is damaged.
    """
    try:
        if (folder / name).exists():
            (target / name).symlink_to(folder / name)
        else:
            with gzip.open(folder / f"{name}.gz") as packed, (target / name).open("wb") as plain:
                _copy(packed, plain)
    except (OSError, EOFError) as error:
        raise UserError(f"data.root: {folder / name}[.gz] cannot be read ({_one_line(error)})") from error


def _copy(packed: BinaryIO | gzip.GzipFile, plain: BinaryIO) -> None:
    """Unpacks what is no larger than the largest file of the set.

    Raises:
        OSError: it is larger.
    """
    left = _MOST_UNPACKED
    while part := packed.read(1 << 20):
        left -= len(part)
        if left < 0:
            raise OSError(f"it unpacks to more than {_MOST_UNPACKED >> 20} MiB")
        plain.write(part)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
