"""A results store at an address, seen from one machine: a folder here that holds what was read or written of it.

The folder is laid out as any results folder, so that whatever reads one reads this. A file is put at the address before
it takes its name here: what lies here lies there too. What others have written is here once `sync` has listed it
(tables, manifests, splits) or `fetch` has asked for it (everything else).
"""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bench.errors import UserError
from bench.store.keys import digest_text
from bench.store.quarantine import QUARANTINE, log
from bench.store.remote import Listed, Remote, is_address
from bench.store.secrets import check_place
from bench.store.stamps import file_digest, stamp_of
from bench.store.whole import beside, settle

FOLDERS = ("rows", "trials", "studies", "data", "splits", "drift")  # what a command lists when it begins
_LOCAL = ("progress", QUARANTINE)  # what is of this machine alone
_FILE_SCHEME = "file://"
_TRIES = 2  # of a file that comes out damaged: the way here may be at fault

_mirrors: dict[Path, Mirror] = {}  # those open in this process, by their folder
_opening = threading.Lock()


class Mirror:
    """The folder on this machine for one address."""

    def __init__(self, address: str, root: Path) -> None:
        self.root = root
        self.remote = Remote(address)
        self._tags: dict[str, str] = {}  # of files that were fetched, as the listing had them
        self._synced = float("-inf")
        self._lock = threading.Lock()

    def sync(self, folders: Sequence[str] = FOLDERS, older_than: float = 0.0) -> None:
        """Brings the files of these folders here, those that are new or changed; drops what is no longer there.

        Args:
            older_than: seconds; nothing happens where the last time is less long ago.

        Raises:
            UserError: the address cannot be listed or read.
        """
        with self._lock:
            if time.monotonic() - self._synced < older_than:
                return
            self.remote.each(self._sync, folders)
            self._synced = time.monotonic()

    def _sync(self, folder: str) -> None:
        # Looked at before the listing: a file that came after it is not one that is gone.
        here = {path.relative_to(self.root).as_posix() for path in (self.root / folder).rglob("*") if path.is_file()}
        there = {name: listed for name, listed in self.remote.listing(folder).items() if _is_data(name)}
        wanted = [name for name, listed in there.items() if not self._has(name, listed)]
        self.remote.each(self._take, wanted)
        self._tags.update({name: there[name].tag for name in wanted})
        for name in here - there.keys():
            if _is_data(name):
                (self.root / name).unlink(missing_ok=True)

    def _has(self, name: str, listed: Listed) -> bool:
        path = self.root / name
        if not path.is_file() or path.stat().st_size != listed.size:
            return False
        return stamp_of(name) is not None or self._tags.get(name, "") == listed.tag != ""

    def fetch(self, path: Path, *, again: bool = False) -> bool:
        """Brings one file here unless it is; False where there is none.

        Args:
            again: although there is one here, which may be older.
        """
        if path.is_file() and not again:
            return True
        name = self._name(path)
        return name is not None and self._take(name)

    def _take(self, name: str) -> bool:
        path, wanted = self.root / name, stamp_of(name)
        with beside(path) as temporary:
            for _ in range(_TRIES):
                if not self.remote.fetch(name, temporary):
                    return False
                if wanted is None or file_digest(temporary).startswith(wanted):
                    settle(temporary, path)
                    return True
        self.set_aside(name, "another digest than its name says")
        return False

    def set_aside(self, name: str, why: str) -> None:
        """Moves a damaged file at the address to `quarantine/`, where that is allowed."""
        target = f"{QUARANTINE}/{name.replace('/', '-')}"
        try:
            self.remote.move(name, target)
        except UserError as error:
            log.warning("%s/%s is damaged (%s) and cannot be moved away: %s", self.remote.address, name, why, error)
        else:
            log.warning("%s/%s is damaged (%s): moved to %s", self.remote.address, name, why, target)

    def publish(self, source: Path, path: Path) -> None:
        """Puts a finished file at the address under the name that `path` has; those of this machine alone are not."""
        name = self._name(path)
        if name is not None:
            self.remote.put(source, name)
            self._tags.pop(name, None)

    def check_writable(self) -> None:
        """Raises:
        UserError: nothing can be written at the address, or not removed again.
        """
        name = f".probe-{uuid.uuid4().hex}"
        with beside(self.root / name) as temporary:
            self.remote.put(temporary, name)
        self.remote.remove([name])

    def withdraw(self, paths: Sequence[Path]) -> None:
        """Removes files at the address."""
        self.remote.remove([name for name in map(self._name, paths) if name is not None])

    def _name(self, path: Path) -> str | None:
        name = path.relative_to(self.root).as_posix()
        return name if _is_data(name) else None


def _is_data(name: str) -> bool:
    """Whether a name is of a file that is shared; one that leads out of the folder never is."""
    parts = PurePosixPath(name).parts
    return not any(part.startswith(".") for part in parts) and parts[0] not in _LOCAL


def open_place(place: str | Path, *, fresh: bool = True) -> Path:
    """The results folder of what a user gave: a path, or for an address the folder that mirrors it here.

    Args:
        fresh: bring here what is new in its tables.

    Raises:
        UserError: an address that cannot be used: unknown scheme, package not installed, no such bucket, no access.
    """
    text = str(place)
    if text.startswith(_FILE_SCHEME):
        return Path(text.removeprefix(_FILE_SCHEME))
    if not is_address(text):
        return Path(place)
    check_place("--results", text)
    address = text.rstrip("/")
    if not is_address(address):
        raise UserError(f"--results {text}: names no bucket; valid: such as s3://bucket/prefix")
    root = (cache_folder() / "results" / _folder_name(address)).resolve()
    with _opening:
        if root not in _mirrors:
            mirror = Mirror(address, root)
            root.mkdir(parents=True, exist_ok=True)
            _mirrors[root] = mirror
    if fresh:
        _mirrors[root].sync()
    return root


def mirror_of(path: Path) -> Mirror | None:
    """The mirror that a folder is, or that a file lies in; None for a plain results folder."""
    if not _mirrors:
        return None
    path = path.absolute()
    return next((found for folder in (path, *path.parents) if (found := _mirrors.get(folder)) is not None), None)


def place_of(root: Path) -> str:
    """What a user would call this results folder: its address, where it has one."""
    mirror = mirror_of(root)
    return str(root) if mirror is None else mirror.remote.address


def refresh(root: Path, folders: Sequence[str] = FOLDERS, older_than: float = 0.0) -> None:
    """As `Mirror.sync`; nothing happens to a plain results folder."""
    mirror = mirror_of(root)
    if mirror is not None:
        mirror.sync(folders, older_than)


def fetched(path: Path, *, again: bool = False) -> Path:
    """The same path, once the file was asked for where it lies in a mirror and is not here (see `Mirror.fetch`)."""
    mirror = mirror_of(path)
    if mirror is not None:
        mirror.fetch(path, again=again)
    return path


def cache_folder() -> Path:
    """Where this machine keeps copies of what lies elsewhere: $BENCH_CACHE, else ~/.cache/bench."""
    return Path(os.environ.get("BENCH_CACHE") or Path.home() / ".cache" / "bench").expanduser()


def _folder_name(address: str) -> str:
    words = re.sub(r"[^A-Za-z0-9._-]+", "-", address.partition("://")[2]).strip("-.")[-40:]
    return f"{words}-{digest_text(address)[:12]}"
