"""Marks: small hidden files by which machines find out whether they see the same results."""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath

from bench.errors import UserError
from bench.store.files import check_writable
from bench.store.mirror import mirror_of, open_place
from bench.store.whole import beside

_SEEN_SECONDS = 10.0  # network file systems keep directory listings for a while
_FOLDER = ".marks"


def leave_mark(place: str, mark: str, name: str) -> str:
    """Proves that this machine can write to a place, and leaves a mark under a name; returns what went wrong, or ""."""
    try:
        root = open_place(place, fresh=False)
        check_writable(root)
        mirror = mirror_of(root)
        if mirror is None:
            (root / f"{mark}-{name}").touch()
            return ""
        with beside(root / mark) as empty:
            mirror.remote.put(empty, f"{_FOLDER}/{mark}-{name}")
    except (OSError, UserError) as error:
        return " ".join(str(error).split())
    return ""


def seen_marks(place: str, mark: str, expected: int) -> tuple[str, ...]:
    """Names of the marks that this machine sees, sorted; waits a little until they are as many as expected."""
    root, until = open_place(place, fresh=False), time.monotonic() + _SEEN_SECONDS
    while True:
        names = tuple(sorted(name.removeprefix(f"{mark}-") for name in _names(root, mark)))
        if len(names) >= expected or time.monotonic() > until:
            return names
        time.sleep(0.5)


def remove_marks(place: str, mark: str) -> None:
    """Removes the marks that this machine sees."""
    root = open_place(place, fresh=False)
    mirror = mirror_of(root)
    for name in _names(root, mark):
        if mirror is None:
            (root / name).unlink(missing_ok=True)
        else:
            mirror.remote.remove([f"{_FOLDER}/{name}"])


def _names(root: Path, mark: str) -> list[str]:
    mirror = mirror_of(root)
    if mirror is None:
        return [path.name for path in root.glob(f"{mark}-*")]
    return [name for path in mirror.remote.listing(_FOLDER) if (name := PurePosixPath(path).name).startswith(mark)]
