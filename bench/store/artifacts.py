"""Artifacts: folders of encoders, features, images and checkpoints, each under its content key, whole or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.store.mirror import mirror_of
from bench.store.quarantine import set_aside
from bench.store.remote_artifacts import (
    MARKER,
    drop_artifact,
    get_artifact,
    is_complete,
    listed_artifacts,
    marker_text,
    parse_marker,
    put_artifact,
)
from bench.store.stamps import damage, stamps
from bench.store.whole import share

KINDS = ("images", "encoders", "features", "checkpoints")
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
    """Folders at `<root>/artifacts/<kind>/<key>`, complete when they hold a marker: bytes and digest of each file.

    A folder is filled under a temporary name and moved to its place when its writer is done, so a reader never sees
    half of one; when two writers race, the first one wins and the other's copy, equal by construction, is dropped.
    A folder whose files are not what the marker says is quarantined when it is looked for, and absent from then on.

    Where the results lie at an address, a finished folder goes there before it takes its place here, and one that is
    not here is fetched when it is looked for.
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
        """The folder of a complete and sound artifact, or None; marks it as used now."""
        folder = self.path(kind, key)
        if not self._is_sound(folder) and not self._fetched(kind, key):
            return None
        try:
            os.utime(folder / MARKER)
        except OSError:  # a read-only store is still a store
            return folder
        return folder

    def problems(self, kind: str, key: str) -> list[str]:
        """What is wrong with an artifact that lies here, a short text each; empty where it is sound or absent."""
        return self._problems(self.path(kind, key))

    def _problems(self, folder: Path) -> list[str]:
        try:
            said = parse_marker((folder / MARKER).read_bytes())
        except OSError:
            return []
        return ["its marker cannot be read"] if said is None else damage(folder, said)

    def _is_sound(self, folder: Path) -> bool:
        if not (folder / MARKER).exists():
            return False
        problems = self._problems(folder)
        if problems:
            set_aside(self.root.parent, folder, "; ".join(problems))
        return not problems

    def _fetched(self, kind: str, key: str) -> bool:
        """Whether the artifact lies here now because it was fetched."""
        mirror = mirror_of(self.root)
        if mirror is None:
            return False
        with self._building(kind, key) as building:
            if not get_artifact(mirror, kind, key, building):
                return False
            self._move(building, self.path(kind, key))
        return True

    def fetch_parts(self, kind: str, keys: Iterable[str], below: tuple[str, ...]) -> None:
        """Brings here the files whose names begin with one of `below`, of each of these artifacts; those that were
        added after it was finished too.

        Nothing happens in a plain results folder, nor for an artifact of which anything lies here.
        """
        mirror = mirror_of(self.root)
        missing = [] if mirror is None else [key for key in keys if not self.path(kind, key).exists()]
        if mirror is None or not missing:
            return
        listed = listed_artifacts(mirror, kind)

        def bring(key: str) -> None:
            files, folder = listed.get((kind, key), {}), self.path(kind, key)
            if is_complete(kind, key, files) and get_artifact(mirror, kind, key, folder, below):
                for name in files:
                    if name.removeprefix(f"artifacts/{kind}/{key}/").startswith(below):
                        mirror.fetch(mirror.root / name)

        mirror.remote.each(bring, missing)

    def keys(self, kind: str) -> set[str]:
        """Keys of the complete artifacts of a kind, those at the address included."""
        found = {artifact.key for artifact in self.complete() if artifact.kind == kind}
        mirror = mirror_of(self.root)
        if mirror is not None:
            listed = listed_artifacts(mirror, kind)
            found |= {key for (_, key), files in listed.items() if is_complete(kind, key, files)}
        return found

    @contextmanager
    def writing(self, kind: str, key: str) -> Iterator[Path]:
        """Yields an empty folder to fill; it becomes the artifact when the block ends without an exception."""
        with self._building(kind, key) as building:
            yield building
            said = stamps(building)
            (building / MARKER).write_text(marker_text(said), encoding="utf-8")
            mirror = mirror_of(self.root)
            if mirror is not None:
                put_artifact(mirror, kind, key, building, said)
            self._move(building, self.path(kind, key))

    @contextmanager
    def _building(self, kind: str, key: str) -> Iterator[Path]:
        """An empty folder beside the place of the artifact, removed at the end where it was not moved there."""
        target = self.path(kind, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f"{_BUILDING}{key}-", dir=target.parent))
        try:
            yield building
        finally:
            shutil.rmtree(building, ignore_errors=True)

    @staticmethod
    def _move(building: Path, target: Path) -> None:
        share(building, 0o777)
        if target.exists() and not (target / MARKER).exists():
            shutil.rmtree(target)
        try:
            os.rename(building, target)
        except OSError:
            if not (target / MARKER).exists():
                raise

    def remove(self, kind: str, key: str) -> None:
        """Removes an artifact, here and at the address; nothing happens when there is none."""
        self.evict(kind, key)
        mirror = mirror_of(self.root)
        if mirror is not None:
            drop_artifact(mirror, kind, key)

    def evict(self, kind: str, key: str) -> None:
        """Removes an artifact from this machine; where the results lie at an address, it stays there."""
        shutil.rmtree(self.path(kind, key), ignore_errors=True)

    def complete(self) -> list[Artifact]:
        """Every complete artifact that lies here, least recently used first."""
        found = []
        for kind in KINDS:
            for marker in (self.root / kind).glob(f"*/{MARKER}"):
                folder = marker.parent
                if folder.name.startswith("."):
                    continue
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and file != marker)
                found.append(Artifact(kind, folder.name, folder, size, marker.stat().st_mtime))
        return sorted(found, key=lambda artifact: (artifact.used, artifact.kind, artifact.key))

    def sweep(self, older_than: float = 86_400.0) -> int:
        """Removes what dead writers left behind, older than this many seconds; returns how many folders."""
        limit = time.time() - older_than
        stale = [folder for folder in self.root.glob(f"*/{_BUILDING}*") if folder.stat().st_mtime < limit]
        for folder in stale:
            shutil.rmtree(folder, ignore_errors=True)
        return len(stale)
