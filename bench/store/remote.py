"""A results store at an address such as s3://bucket/prefix: what lies there is listed, fetched, put and removed."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from bench.errors import UserError, unknown
from bench.store.secrets import said

# An upload to these is whole or not there; to any other a file goes under a hidden name and is then renamed.
_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "memory"}
_EXTRAS = {"s3": "pip install 'pretextbench[s3]'", "s3a": "pip install 'pretextbench[s3]'"}
_NAMED = ("s3", "gs", "abfs", "hdfs", "sftp", "smb")  # schemes that a message about an unknown one names
_CHAIN = "::"
_AT_ONCE = 16  # files on their way at a time
_REASON = 200  # characters

T = TypeVar("T")


@dataclass(frozen=True)
class Listed:
    """One file of a listing: bytes, a tag that changes with the content, when it was written (seconds, or None)."""

    size: int
    tag: str
    written: float | None


class Remote:
    """The files under one address, by names relative to it. Every error is a UserError that names the address."""

    def __init__(self, address: str) -> None:
        """Raises:
        UserError: an unknown scheme, or one whose package is not installed.
        """
        self.address = address.rstrip("/")
        self._system, self._base = _open(self.address)
        schemes = self._system.protocol
        self._whole = bool({schemes} & _WHOLE if isinstance(schemes, str) else set(schemes) & _WHOLE)
        self._at_once = _AT_ONCE if getattr(self._system, "async_impl", False) else 1

    def listing(self, folder: str) -> dict[str, Listed]:
        """Every file below a folder by its name; hidden ones included. One request for every thousand files.

        Raises:
            UserError: no such bucket, no right to list it, no answer.
        """
        with self._asking("cannot be listed"):
            self._system.invalidate_cache()
            found = self._system.find(f"{self._base}/{folder}", detail=True)
        return {str(PurePosixPath(path).relative_to(self._base)): _listed(info) for path, info in found.items()}

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""
        with tempfile.TemporaryDirectory() as folder:  # to read it at once would take one request more
            file = Path(folder) / "file"
            return file.read_bytes() if self.fetch(name, file) else None

    def fetch(self, name: str, to: Path) -> bool:
        """Copies a file to this machine; False where there is none."""
        with self._asking("cannot be read"):
            try:
                self._system.get_file(self._path(name), str(to))
            except FileNotFoundError:
                return False
        return True

    def put(self, source: Path, name: str) -> None:
        """Copies a file there; nobody sees half of it."""
        with self._asking("cannot be written"):
            target = self._path(name)
            if self._whole:
                self._system.put_file(str(source), target)
                return
            hidden = f"{target.rpartition('/')[0]}/.{uuid.uuid4().hex}.part"
            self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._system.put_file(str(source), hidden)
            self._system.mv(hidden, target)

    def each(self, do: Callable[[str], T], names: Iterable[str]) -> list[T]:
        """Does something for every name, several at a time where the file system allows it; results in their order."""
        with ThreadPoolExecutor(self._at_once) as pool:
            return list(pool.map(do, names))

    def remove(self, names: Iterable[str]) -> None:
        """Removes files; those that are gone already are no error."""
        paths = [self._path(name) for name in names]
        if not paths:
            return
        with self._asking("cannot be written"), contextlib.suppress(FileNotFoundError):
            self._system.rm(paths)

    def move(self, name: str, to: str) -> None:
        """Gives a file another name."""
        with self._asking("cannot be written"):
            if not self._whole:
                self._system.makedirs(self._path(to).rpartition("/")[0], exist_ok=True)
            self._system.mv(self._path(name), self._path(to))

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}"

    @contextlib.contextmanager
    def _asking(self, failed: str) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except Exception as error:  # each file system has errors of its own
            raise UserError(f"--results {self.address}: {failed} ({said(error, _REASON)})") from None


def is_address(place: str) -> bool:
    """Whether a place is an address such as s3://bucket/prefix rather than a path."""
    return "://" in place


def _open(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path within it."""
    import fsspec
    from fsspec.registry import known_implementations

    scheme = address.partition("://")[0]
    if _CHAIN in address:
        raise UserError(f"--results {address}: a chain of addresses; valid: one, such as s3://bucket/prefix")
    if scheme not in fsspec.available_protocols():
        raise unknown("scheme", f"{scheme}://", [f"{name}://" for name in _NAMED], f"--results {address}")
    try:
        system, base = fsspec.core.url_to_fs(address)
    except ImportError as error:
        known = known_implementations.get(scheme, {}).get("err", str(error))
        raise UserError(f"--results {address}: {scheme}:// takes a package: {_EXTRAS.get(scheme, known)}") from None
    except Exception as error:
        raise UserError(f"--results {address}: {said(error, _REASON)}") from None
    if not base.strip("/"):
        raise UserError(f"--results {address}: names no bucket; valid: such as {scheme}://bucket/prefix")
    return system, base.rstrip("/")


def _listed(info: dict[str, Any]) -> Listed:
    """What a file system says of a file; the names of the entries differ from one to the next."""
    tags = ("ETag", "etag", "md5Hash", "generation", "LastModified", "last_modified", "mtime", "created", "modified")
    tag = next((str(info[name]) for name in tags if info.get(name)), "")
    times = (info.get(name) for name in ("LastModified", "last_modified", "updated", "mtime", "created", "modified"))
    when = next((time for time in times if time), None)
    written = when.timestamp() if isinstance(when, datetime) else when if isinstance(when, int | float) else None
    return Listed(int(info.get("size") or 0), tag, written)
