"""Whole files or none: every file of the store is written beside its place and moved there."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.store.mirror import mirror_of
from bench.store.whole import beside, settle


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it replaces `path` in one step, else it is removed.

    In the folder of an address it is put there first (see `bench.store.mirror`).
    """
    with beside(path) as temporary:
        yield temporary
        place(temporary, path)


def place(temporary: Path, path: Path) -> None:
    """Moves a finished temporary file to its place, at its address first where it has one."""
    mirror = mirror_of(path)
    if mirror is not None:
        mirror.publish(temporary, path)
    settle(temporary, path)


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
    mirror = mirror_of(root)
    if mirror is not None:
        mirror.check_writable()
