"""The files under a folder: what is there, how large, how old; links that lead elsewhere are refused unless allowed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench.errors import UserError

LINKS = "BENCH_DATA_LINKS"  # set to `allow`, links out of a data folder are followed
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


class File(NamedTuple):
    """One file: path relative to the listed folder with forward slashes, bytes, time of last change in nanoseconds."""

    path: str
    size: int
    changed: int


def list_files(root: Path) -> list[File]:
    """Every file under `root`, hidden ones excepted, sorted by path.

    Raises:
        UserError: `root` is no folder, a folder cannot be read, a link leads to a folder or out of `root`, or a name is
            not valid UTF-8.
    """
    root = root.resolve()
    if not root.is_dir():
        raise UserError(f"data.root: no folder {root}")
    try:
        return sorted(_walk(root, root, ""))
    except OSError as error:
        raise UserError(f"data.root: {error.filename} cannot be read ({error.strerror})") from None


def list_images(root: Path) -> list[File]:
    """The files of `list_files` that are images by their suffix."""
    return [file for file in list_files(root) if file.path.lower().endswith(IMAGE_SUFFIXES)]


def _walk(root: Path, folder: Path, prefix: str) -> Iterator[File]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if "\udc80" <= max(entry.name) <= "\udcff":  # bytes that Python could not read as text
                raise UserError(f"data.root: {prefix}{entry.name!r} is not valid UTF-8; rename it")
            if entry.is_symlink():
                check_link(root, Path(entry.path))
            if entry.is_dir():
                yield from _walk(root, Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file():
                status = entry.stat()
                yield File(prefix + entry.name, status.st_size, status.st_mtime_ns)


def check_link(root: Path, link: Path) -> None:
    """A link to a file inside the root is a name; any other could pull in anything, or the same images twice.

    Raises:
        UserError: it is another, and the environment does not allow it.
    """
    target = link.resolve()
    within = target.is_dir() and link.parent.resolve().is_relative_to(target)
    if within or (not links_allowed() and (target.is_dir() or not target.is_relative_to(root))):
        raise UserError(
            f"data.root: {link} is a link to {target}; copy what it names into {root}, or allow links: {LINKS}=allow"
        )


def links_allowed() -> bool:
    """Whether the user's environment says that links may lead out of a data folder."""
    return os.environ.get(LINKS) == "allow"
