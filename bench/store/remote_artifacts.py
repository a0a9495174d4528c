"""Artifacts at an address: files first, under a name of their content; then the marker that points at them.

`artifacts/KIND/KEY/CONTENT/FILE` and `artifacts/KIND/KEY/.complete`. Two writers of one key never mix: each marker
names the content that belongs to it, and of two markers the last one wins. A writer that dies leaves files that no
marker points at, which nobody reads and `bench gc` removes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bench.store.keys import digest_text
from bench.store.mirror import Mirror
from bench.store.remote import Listed
from bench.store.stamps import Stamps, damage
from bench.store.whole import beside, settle

MARKER = ".complete"
_TRIES = 2  # of files that come out damaged: the way here may be at fault
_CONTENT = 16  # digits of the name of a content
_IS_CONTENT = re.compile(r"[0-9a-f]{16}")  # what else lies there was added later, or is a checkpoint


def marker_text(said: Stamps) -> str:
    """What a marker says of the files of its folder, as JSON."""
    return json.dumps({"files": {name: list(stamp) for name, stamp in said.items()}}, indent=1, sort_keys=True) + "\n"


def parse_marker(text: str | bytes) -> Stamps | None:
    """The inverse; empty for the bare marker of an earlier version, None for a damaged one."""
    if not text.strip():
        return {}
    try:
        files = json.loads(text)["files"]
        said = {str(name): (int(size), str(digest)) for name, (size, digest) in files.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return said if all(_is_within(name) for name in said) else None


def _is_within(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and bool(path.parts)


def put_artifact(mirror: Mirror, kind: str, key: str, folder: Path, said: Stamps) -> None:
    """Puts a finished folder at the address, its marker (a file of the folder) last."""
    content = _content(said)
    mirror.remote.each(lambda name: mirror.remote.put(folder / name, f"{_home(kind, key)}/{content}/{name}"), said)
    mirror.remote.put(folder / MARKER, f"{_home(kind, key)}/{MARKER}")


def get_artifact(mirror: Mirror, kind: str, key: str, into: Path, below: tuple[str, ...] = ()) -> bool:
    """Fetches an artifact, its marker last, and compares every file with its digest.

    What is damaged at the address is quarantined there: its marker moves to `quarantine/`, and the artifact is absent.

    Args:
        into: a folder; only this process writes there.
        below: only the files whose names begin with one of these, and no marker.

    Returns:
        Whether there was one, and sound.
    """
    text = mirror.remote.read(f"{_home(kind, key)}/{MARKER}")
    if text is None:
        return False
    said = parse_marker(text)
    if not said:
        mirror.set_aside(f"{_home(kind, key)}/{MARKER}", "no marker that can be read")
        return False
    wanted = {name: stamp for name, stamp in said.items() if not below or name.startswith(below)}
    problems = _fetch(mirror, f"{_home(kind, key)}/{_content(said)}", into, wanted)
    if problems:
        mirror.set_aside(f"{_home(kind, key)}/{MARKER}", "; ".join(problems))
        return False
    if not below:
        (into / MARKER).write_bytes(text)
    return True


def _fetch(mirror: Mirror, home: str, into: Path, wanted: Stamps) -> list[str]:
    """What is still wrong when everything was fetched, what came out damaged once more."""

    def fetch(name: str) -> bool:
        with beside(into / name) as temporary:
            there = mirror.remote.fetch(f"{home}/{name}", temporary)
            if there:
                settle(temporary, into / name)
        return there

    left, problems = dict(wanted), []
    for _ in range(_TRIES):
        mirror.remote.each(fetch, left)
        left = {name: stamp for name, stamp in left.items() if damage(into, {name: stamp}, every=True)}
        if not left:
            return []
        problems = damage(into, left, every=True)
    return problems


def drop_artifact(mirror: Mirror, kind: str, key: str) -> None:
    """Removes an artifact at the address, the marker first; nothing happens when there is none."""
    names = list(mirror.remote.listing(_home(kind, key)))
    marker = f"{_home(kind, key)}/{MARKER}"
    if marker in names:
        mirror.remote.remove([marker])
    mirror.remote.remove(name for name in names if name != marker)


def listed_artifacts(mirror: Mirror, kind: str = "") -> dict[tuple[str, str], dict[str, Listed]]:
    """The files at the address of every kind (or of this one) and key, whole or not."""
    found: dict[tuple[str, str], dict[str, Listed]] = {}
    for name, listed in mirror.remote.listing(f"artifacts/{kind}".rstrip("/")).items():
        parts = PurePosixPath(name).parts
        if len(parts) > 3:
            found.setdefault((parts[1], parts[2]), {})[name] = listed
    return found


def is_complete(kind: str, key: str, files: Mapping[str, Listed]) -> bool:
    """Whether the files of a key, as listed, hold its marker."""
    return f"{_home(kind, key)}/{MARKER}" in files


def unread(mirror: Mirror, kind: str, key: str, files: Mapping[str, Listed], before: float) -> list[str]:
    """Files of a key that its marker does not point at, written before this time (seconds since the epoch)."""
    home = _home(kind, key)
    contents = {part for name in files if _IS_CONTENT.fullmatch(part := PurePosixPath(name).relative_to(home).parts[0])}
    if is_complete(kind, key, files):
        if len(contents) < 2:
            return []
        said = parse_marker(mirror.remote.read(f"{home}/{MARKER}") or b"")
        contents -= {_content(said)} if said else set()
    old = (name for name, listed in files.items() if listed.written is not None and listed.written < before)
    return [name for name in old if PurePosixPath(name).relative_to(home).parts[0] in contents]


def _home(kind: str, key: str) -> str:
    return f"artifacts/{kind}/{key}"


def _content(said: Stamps) -> str:
    return digest_text(marker_text(said))[:_CONTENT]
