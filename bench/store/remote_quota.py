"""The quota of an address: what can be computed again is dropped there, in the order of `bench.store.quota`."""

from __future__ import annotations

import time

from bench.store.artifacts import Artifact, Artifacts
from bench.store.mirror import Mirror
from bench.store.quota import DROP_ORDER, Cleaning
from bench.store.remote_artifacts import is_complete, listed_artifacts, unread

_DEAD_SECONDS = 86_400.0  # a writer that took longer between two files is gone


def clean_remote(mirror: Mirror, keep: int, dry_run: bool = False) -> Cleaning:
    """Drops artifacts at the address until at most `keep` bytes are left, and what dead writers left there.

    Nobody notes there when one was last read: those that were written first go first, features before encoders.
    """
    artifacts, found = Artifacts(mirror.root), []
    for (kind, key), files in listed_artifacts(mirror).items():
        if not dry_run:
            mirror.remote.remove(unread(mirror, kind, key, files, time.time() - _DEAD_SECONDS))
        if kind in DROP_ORDER and is_complete(kind, key, files):
            written = max(listed.written or 0.0 for listed in files.values())
            size = sum(listed.size for listed in files.values())
            found.append(Artifact(kind, key, artifacts.path(kind, key), size, written))
    removed, total = [], sum(artifact.size for artifact in found)
    for artifact in sorted(found, key=lambda a: (DROP_ORDER.index(a.kind), a.used, a.key)):
        if total <= keep:
            break
        if not dry_run:
            artifacts.remove(artifact.kind, artifact.key)
        removed.append(artifact)
        total -= artifact.size
    return Cleaning(tuple(removed), total)
