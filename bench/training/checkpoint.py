"""Where a pretraining stands, on disk: written whole or not at all, read without executing anything."""

from __future__ import annotations

import logging
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from bench.store.files import replacing
from bench.store.mirror import fetched

_DAMAGED = ".damaged"  # behind the name of a checkpoint that was put aside
log = logging.getLogger(__name__)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes tensors, numbers and lists of them; a reader sees the old file or the new one, never half of one.

    Where the folder goes while it is written, another process has finished the same training: there is nothing to keep.
    """
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        log.warning("no checkpoint is kept at %s: its folder was removed meanwhile", path)


def read_checkpoint(path: Path | None) -> dict[str, Any] | None:
    """The state that was saved, on the CPU; None where there is none.

    A file that cannot be read, or whose content is not what its checksums say, is put aside under the name
    `NAME.damaged`, with a warning in the log. Where the results lie at an address, the newest is the one there.
    """
    if path is None or not fetched(path, again=True).is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch reads without looking at the checksums that it wrote
        if damaged is not None:
            raise ValueError(f"{damaged} is not what was written")
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:  # another process has finished the same training
        return None
    except Exception as error:  # a damaged file fails in as many ways as it can be damaged
        log.warning("ignoring the damaged checkpoint %s, training starts over: %s", path.name, error)
        os.replace(path, path.with_name(path.name + _DAMAGED))
        return None
