"""Artifacts: folders of encoders, features, images and checkpoints, each under its content key, whole or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.store.files import share

KINDS = ("images", "encoders", "features", "checkpoints")
_MARKER = ".complete"
_BUILDING = ".building-"


@dataclass(frozen=True)
class Artifact:
    """One folder of the store: what it is, its size in bytes, when it was last used (seconds since the epoch)."""

    kind: str
    key: str
    path: Path
    size: int
    used: float


class Artifacts:
    """Folders at `<root>/artifacts/<kind>/<key>`, complete when they hold a marker.

    A folder is filled under a temporary name and moved to its place when its writer is done, so a reader never sees
    half of one; when two writers race, the first one wins and the other's copy, equal by construction, is dropped.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root) / "artifacts"

    def path(self, kind: str, key: str) -> Path:
        """Where the artifact lies, or would lie.

        Raises:
            ValueError: `kind` is not one of KINDS, or `key` is not a plain name.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown artifact kind {kind!r}; valid: {', '.join(KINDS)}")
        if not key or key.startswith(".") or Path(key).name != key:
            raise ValueError(f"an artifact key is a plain name, but got {key!r}")
        return self.root / kind / key

    def find(self, kind: str, key: str) -> Path | None:
        """The folder of a complete artifact, or None; marks it as used now."""
        folder = self.path(kind, key)
        marker = folder / _MARKER
        if not marker.exists():
            return None
        try:
            os.utime(marker)
        except OSError:  # a read-only store is still a store
            return folder
        return folder

    @contextmanager
    def writing(self, kind: str, key: str) -> Iterator[Path]:
        """Yields an empty folder to fill; it becomes the artifact when the block ends without an exception."""
        target = self.path(kind, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f"{_BUILDING}{key}-", dir=target.parent))
        try:
            yield building
            (building / _MARKER).touch()
            share(building, 0o777)
            self._move(building, target)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    @staticmethod
    def _move(building: Path, target: Path) -> None:
        if target.exists() and not (target / _MARKER).exists():
            shutil.rmtree(target)
        try:
            os.rename(building, target)
        except OSError:
            if not (target / _MARKER).exists():
                raise

    def remove(self, kind: str, key: str) -> None:
        """Removes an artifact; nothing happens when there is none."""
        shutil.rmtree(self.path(kind, key), ignore_errors=True)

    def complete(self) -> list[Artifact]:
        """Every complete artifact of the store, least recently used first."""
        found = []
        for kind in KINDS:
            for marker in (self.root / kind).glob(f"*/{_MARKER}"):
                folder = marker.parent
                if folder.name.startswith("."):
                    continue
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                found.append(Artifact(kind, folder.name, folder, size, marker.stat().st_mtime))
        return sorted(found, key=lambda artifact: (artifact.used, artifact.kind, artifact.key))

    def sweep(self, older_than: float = 86_400.0) -> int:
        """Removes what dead writers left behind, older than this many seconds; returns how many folders."""
        limit = time.time() - older_than
        stale = [folder for folder in self.root.glob(f"*/{_BUILDING}*") if folder.stat().st_mtime < limit]
        for folder in stale:
            shutil.rmtree(folder, ignore_errors=True)
        return len(stale)
