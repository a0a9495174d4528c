"""The pictures that a pretraining left beside its encoder: found by key, read when they are shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"(\d+)_(.+)\.png")


@dataclass(frozen=True)
class Picture:
    """A sheet of images of one kind ("input", "corrupted", "reconstruction", ...)."""

    name: str
    path: Path

    def read(self) -> bytes | None:
        """The PNG; None where it is gone by now, or no PNG."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        return content if content.startswith(b"\x89PNG\r\n\x1a\n") else None


def pictures(root: Path, pretrain_key: str) -> list[Picture]:
    """The pictures of a pretraining, in the order of its method; empty where it has none or they were dropped."""
    folder = root / "artifacts" / "encoders" / pretrain_key / "previews"
    found = [(match, path) for path in folder.glob("*.png") if (match := _NAME.fullmatch(path.name))]
    found.sort(key=lambda pair: (int(pair[0][1]), pair[0][2]))
    return [Picture(match[2].replace("_", " "), path) for match, path in found]
