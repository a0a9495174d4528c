"""WebDataset shards: tar files, here or at an address, in which an image and its label share a name."""

from __future__ import annotations

import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from bench.data.listing import IMAGE_SUFFIXES, check_link
from bench.data.naming import check_text, codes_or_none, number_classes, split_of_file
from bench.data.raw import TRAIN, RawImages
from bench.errors import UserError
from bench.store.keys import content_key

SHARD_SUFFIX = ".tar"
_LABEL_KEYS = ("label", "cls", "class", "class_name", "target")  # of a sample's .json, the first that is there
_MOST_SHARDS = 100_000
_LABEL_BYTES = 1 << 20  # a larger label is none
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


class _Sample(NamedTuple):
    image: tuple[int, int, int]  # shard, offset and bytes within it
    label: str | None


@dataclass(frozen=True)
class TarFiles:
    """Images within tar files that are not packed further."""

    files: tuple[Path, ...]

    def read(self, place: np.ndarray) -> bytes:
        """The bytes at (file, offset, length)."""
        number, offset, length = (int(value) for value in place)
        with self.files[number].open("rb") as file:
            file.seek(offset)
            return file.read(length)


def read_shards(root: str) -> RawImages:
    """The samples of all shards: an image, and a label in .cls (number or name) or under `label` in .json, or none.

    A shard with train, val or test in its name gives its samples to that split.

    Raises:
        UserError: no shards, one that is damaged or packed, a sample with two images, or a name that leads out.
    """
    names = shard_names(root)
    files = [_at_hand(name) for name in names]
    samples: dict[str, _Sample] = {}
    codes = []
    for number, (name, file) in enumerate(zip(names, files, strict=True)):
        code = split_of_file(PurePosixPath(name).name.removesuffix(SHARD_SUFFIX))
        for key, sample in _read_shard(file, number, name):
            samples[f"{PurePosixPath(name).name}/{key}"] = sample
            codes.append(TRAIN if code is None else code)
    if len(samples) < len(codes):
        raise UserError(f"data.root: two shards of {root!r} have the same name, and samples of the same name")
    if not samples:
        raise UserError(f"data.root: no images in the shards of {root!r}; valid: {', '.join(IMAGE_SUFFIXES)}")
    labels, classes = number_classes([sample.label for sample in samples.values()])
    return RawImages(
        paths=tuple(samples),
        labels=labels,
        class_names=classes,
        official=codes_or_none(codes),
        root=Path(files[0]).parent,
        packed=TarFiles(tuple(files)),
        places=np.array([sample.image for sample in samples.values()], np.int64).reshape(-1, 3),
    )


def shard_listing(root: str) -> list[object]:
    """Name and version of every shard: size and time of change, or what its server says."""
    return [[PurePosixPath(name).name, *_version(name)] for name in shard_names(root)]


def shard_names(root: str) -> list[str]:
    """The shards that a folder, a file, a pattern (`train-{000..012}.tar`, `*.tar`) or an address stands for.

    Raises:
        UserError: there are none.
    """
    names = list(_braces(root))
    if not is_address(root):
        names = [str(path) for name in names for path in _local(Path(name).expanduser())]
    if not names:
        raise UserError(f"data.root: no shards at {root!r}; wanted: *{SHARD_SUFFIX}")
    return names


def is_address(root: str) -> bool:
    """Whether a place is an address such as s3://bucket/key rather than a path."""
    return "://" in root


def _braces(pattern: str) -> Iterator[str]:
    """`a-{08..10}.tar` as a-08.tar, a-09.tar, a-10.tar."""
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    first, last = int(match[1]), int(match[2])
    if last < first or last - first >= _MOST_SHARDS:
        raise UserError(f"data.root: {match[0]} in {pattern!r} is no range; valid: {{000..012}}")
    for number in range(first, last + 1):
        yield from _braces(f"{pattern[: match.start()]}{number:0{len(match[1])}}{pattern[match.end() :]}")


def _local(path: Path) -> list[Path]:
    if path.is_dir():
        return _within(path.resolve(), f"*{SHARD_SUFFIX}")
    if "*" in path.name:
        return _within(path.parent.resolve(), path.name)
    if not path.is_file():
        raise UserError(f"data.root: no file {str(path)!r}")
    return [path.resolve()]


def _within(folder: Path, pattern: str) -> list[Path]:
    found = sorted(folder.glob(pattern))
    for path in found:
        if path.is_symlink():
            check_link(folder, path)
    return found


def _version(name: str) -> list[object]:
    if not is_address(name):
        status = os.stat(name)
        return [status.st_size, status.st_mtime_ns]
    info = _remote(name, lambda system, path: system.info(path))
    stamp = next((info[key] for key in ("ETag", "etag", "mtime", "LastModified", "created") if info.get(key)), None)
    return [info.get("size"), str(stamp)]


def _remote(name: str, do: Any) -> Any:
    """Asks the file system of an address.

    Raises:
        UserError: there is no such file system, or it does not answer as it should.
    """
    import fsspec

    if "::" in name:
        raise UserError(f"data.root: {name!r} is a chain of addresses; valid: one, such as s3://bucket/train-000.tar")
    try:
        return do(*fsspec.core.url_to_fs(name))
    except Exception as error:  # each file system has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"data.root: {name!r} cannot be read ({type(error).__name__}: {reason[:200]})") from None


def shard_cache() -> Path:
    """Where shards from an address are kept."""
    return Path.home() / ".cache" / "bench" / "data" / "shards"


def _at_hand(name: str) -> Path:
    """The shard as a file here; one at an address is fetched once and kept, whole or not at all."""
    if not is_address(name):
        return Path(name)
    folder = shard_cache() / content_key("shard", name=name, version=_version(name))
    target = folder / PurePosixPath(name).name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            part = Path(temporary) / "part"
            _remote(name, lambda system, path: system.get_file(path, str(part)))
            os.replace(part, target)
    return target


def _read_shard(file: Path, number: int, name: str) -> Iterator[tuple[str, _Sample]]:
    """The samples of one shard, in its order."""
    images: dict[str, tuple[int, int, int]] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(file, "r:") as tar, file.open("rb") as stream:
            for member in tar:
                key, suffix = _split(member, name)
                if suffix in IMAGE_SUFFIXES:
                    if key in images:
                        raise UserError(f"data.root: sample {key!r} of {name} has two images; one is needed")
                    images[key] = (number, member.offset_data, member.size)
                elif suffix in (".cls", ".json") and member.size < _LABEL_BYTES:
                    label = _label(stream, member, suffix, f"data.root: {member.name!r} of {name}")
                    if label is not None:
                        labels[key] = label
    except (tarfile.TarError, OSError, EOFError, ValueError, LookupError) as error:
        raise UserError(f"data.root: {name} is no tar file that can be read ({error}); packed ones are not") from None
    for key, place in images.items():
        yield key, _Sample(place, labels.get(key))


def _split(member: tarfile.TarInfo, name: str) -> tuple[str, str]:
    """Key and suffix of a member, parted at the first dot of its file name; nothing for a folder.

    Raises:
        UserError: a link, or a name that leads out of the shard.
    """
    if member.isdir():
        return "", ""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not member.isreg() or member.issparse():
        raise UserError(f"data.root: {member.name!r} of {name} is a link or leads out; only plain files are read")
    check_text(member.name, f"data.root: {name}")
    key, dot, rest = path.name.partition(".")
    return (path.parent / key).as_posix(), (dot + rest).lower()


def _label(stream: BinaryIO, member: tarfile.TarInfo, suffix: str, where: str) -> str | None:
    stream.seek(member.offset_data)
    try:
        text = stream.read(member.size).decode("utf-8").strip()
        if suffix == ".cls":
            return text or None
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} cannot be read as a label ({error})") from None
    values = (content.get(key) for key in _LABEL_KEYS) if isinstance(content, dict) else ()
    found = next((value for value in values if isinstance(value, str | int)), None)
    return None if found is None or found == "" else str(found)
