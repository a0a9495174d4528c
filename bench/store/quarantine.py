"""Quarantine: what is damaged is put aside under a name, so that it is neither read nor in the way of its like."""

from __future__ import annotations

import logging
import os
from pathlib import Path

QUARANTINE = "quarantine"
log = logging.getLogger(__name__)


def set_aside(root: Path, path: Path, why: str) -> Path | None:
    """Moves a file or folder of the store to `<root>/quarantine/`, and says so in the log.

    A name keeps where it lay: `artifacts/encoders/KEY` becomes `artifacts-encoders-KEY`, with a number where that is
    taken.

    Returns:
        Where it lies now; None where it cannot be moved, as in a store that may only be read: it stays, unread.
    """
    within = "-".join(path.relative_to(root).parts)
    target, number = root / QUARANTINE / within, 1
    while target.exists():
        number += 1
        target = root / QUARANTINE / f"{within}~{number}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(path, target)
    except OSError as error:
        log.warning("%s is damaged (%s) and cannot be moved away: %s", path, why, error.strerror)
        return None
    log.warning("%s is damaged (%s): moved to %s", path, why, target)
    return target


def quarantined(root: Path) -> list[str]:
    """Names of what lies in quarantine."""
    folder = root / QUARANTINE
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
