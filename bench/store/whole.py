"""Whole files or none on this machine: written beside their place, moved there in one step."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PART = ".part"
_DEAD_SECONDS = 86_400.0  # a writer that took longer over one file is gone


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`, made if need be; it is gone when the block ends.

    The temporary name starts with a dot and keeps no `.parquet` or `.json` suffix, so no reader takes it for data.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PART, dir=path.parent)
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


def sweep_parts(root: Path, older_than: float = _DEAD_SECONDS) -> int:
    """Removes the temporary files that killed writers left below `root`, older than so many seconds; returns how many.

    A block of `beside` removes its own, but not where its process got a SIGKILL.
    """
    limit, removed = time.time() - older_than, 0
    for path in root.rglob(f".*{_PART}"):
        try:
            if path.is_file() and path.stat().st_mtime < limit:
                path.unlink()
                removed += 1
        except FileNotFoundError:  # its writer has finished meanwhile
            continue
    return removed
