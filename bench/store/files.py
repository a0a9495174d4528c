"""Whole files or none: every file of the store is written beside its place and moved there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it replaces `path` in one step, else it is removed.

    The temporary name starts with a dot and keeps no `.parquet` or `.json` suffix, so no reader takes it for data.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        share(temporary, 0o666)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def share(path: Path, mode: int) -> None:
    """Gives a temporary file or folder the rights that an ordinary one would have: others may read a shared store."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(mode & ~mask)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically, indented, keys sorted."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any | None:
    """The content of a JSON file; None where there is none or it cannot be read as JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None


def check_writable(root: Path) -> None:
    """Makes the results folder and proves that it can be written.

    Raises:
        UserError: it cannot; the message says why.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise UserError(
            f"--results {root}: cannot be written ({error.strerror}); give a folder you can write to"
        ) from None
