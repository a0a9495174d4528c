"""The quota: what can be computed again is dropped, least recently used first, until the store is small enough."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.store.artifacts import Artifact, Artifacts

# Features come back from an encoder in seconds and images from the files; an encoder costs its whole pretraining.
DROP_ORDER = ("features", "checkpoints", "images", "encoders")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Cleaning:
    """What a cleaning removed and what is left, in bytes."""

    removed: tuple[Artifact, ...]
    kept_bytes: int

    @property
    def removed_bytes(self) -> int:
        return sum(artifact.size for artifact in self.removed)


def parse_size(text: str) -> int:
    """Bytes of a size such as `20GB`, `500M` or `0`.

    Raises:
        UserError: the text is not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, flags=re.IGNORECASE)
    if match is None:
        raise UserError(f"--keep: {text!r} is not a size; valid: a number with K, M, G or T, such as 20GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def clean(root: Path, keep: int, dry_run: bool = False, kinds: Sequence[str] = DROP_ORDER) -> Cleaning:
    """Drops artifacts of these kinds until at most `keep` bytes of them are left here. Rows and trials always stay.

    What lies at an address stays there: `bench.store.remote_quota` cleans that.
    """
    artifacts = Artifacts(root)
    removed: list[Artifact] = []
    found = [artifact for artifact in artifacts.complete() if artifact.kind in kinds]
    total = sum(artifact.size for artifact in found)
    for artifact in sorted(found, key=lambda a: (DROP_ORDER.index(a.kind), a.used, a.key)):
        if total <= keep:
            break
        if not dry_run:
            artifacts.evict(artifact.kind, artifact.key)
        removed.append(artifact)
        total -= artifact.size
    if not dry_run:
        artifacts.sweep()
    return Cleaning(tuple(removed), total)
