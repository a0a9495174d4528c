"""Whole files or none on this machine: written beside their place, moved there in one step."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`, made if need be; it is gone when the block ends.

    The temporary name starts with a dot and keeps no `.parquet` or `.json` suffix, so no reader takes it for data.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def share(path: Path, mode: int) -> None:
    """Gives a temporary file or folder the rights that an ordinary one would have: others may read a shared store."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(mode & ~mask)


def settle(temporary: Path, path: Path) -> None:
    """Moves a finished temporary file to its place on this machine."""
    share(temporary, 0o666)
    os.replace(temporary, path)
