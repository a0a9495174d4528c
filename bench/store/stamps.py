"""Digests that travel with files: in a file's name, or for a folder in its marker. Damage shows; it is never data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

_STAMP = re.compile(r"\.([0-9a-f]{16})\.[a-z]+$")
_DIGITS = 16  # of the digest in a name: against damage, not against malice
_ALWAYS = 2**30  # bytes of a file that is read for its digest whenever a process first meets it; a larger one: its size

Stamps = Mapping[str, tuple[int, str]]  # of a folder: name -> bytes, digest


def stamped(stem: str, digest: str, suffix: str) -> str:
    """The name of a file that carries this digest: `STEM.DIGEST.SUFFIX`."""
    return f"{stem}.{digest[:_DIGITS]}{suffix}"


def stamp_of(name: str) -> str | None:
    """The digest that a file name carries; None where it carries none."""
    found = _STAMP.search(name)
    return found[1] if found else None


def is_sound(path: Path) -> bool | None:
    """Whether a file is what its name says; None where the name does not say. A file that is gone is not sound."""
    wanted = stamp_of(path.name)
    if wanted is None:
        return None
    try:
        return known_digest(path)[:_DIGITS] == wanted
    except OSError:
        return False


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_digest(path: Path) -> str:
    """As `file_digest`, computed once in a process while size and time of change stay what they are."""
    state = path.stat()
    return _digest(path, state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=200_000)
def _digest(path: Path, size: int, changed: int, inode: int) -> str:
    return file_digest(path)


def stamps(folder: Path) -> dict[str, tuple[int, str]]:
    """Bytes and digest of every file below a folder, hidden ones left out, by its path within."""
    return {name: (path.stat().st_size, file_digest(path)) for name, path in _files(folder)}


def damage(folder: Path, said: Stamps, every: bool = False) -> list[str]:
    """What is wrong with the files of a folder, a short text each; files that the stamps do not name are not looked at.

    Sizes are compared always, digests of files up to 1 GiB once in a process.

    Args:
        every: read larger files as well.
    """
    found = []
    for name, (size, digest) in said.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != size:
            found.append(f"{name} has {path.stat().st_size:,} bytes of {size:,}")
        elif (every or size <= _ALWAYS) and known_digest(path) != digest:
            found.append(f"{name} has another digest than when it was written")
    return found


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in within.parts):
            yield within.as_posix(), path
