"""InfraredSolarModules: 20,000 thermal images of solar modules, 12 classes, 57:1 (Millendorf et al., 2020)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.raw import RawImages
from bench.data.source import PLACES
from bench.errors import UserError
from bench.study.spec import DataSpec

METADATA = "module_metadata.json"


def read_infrared_solar(spec: DataSpec) -> RawImages:
    """Grey JPEG images, 24 wide x 40 high; no official split, and identical files stay on one side of it.

    Raises:
        UserError: the metadata is missing, or is not what the published set holds.
    """
    folder = (Path(str(spec.root)).expanduser() / PLACES[spec.name].folder).resolve()
    try:
        entries = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        named = [(_path(entry), str(entry["anomaly_class"])) for _, entry in sorted(entries.items(), key=_number)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"data.root: {folder / METADATA} cannot be read as the published list ({type(error).__name__}: {error})"
        ) from error
    classes = sorted({name for _, name in named})
    return RawImages(
        paths=tuple(path for path, _ in named),
        labels=np.array([classes.index(name) for _, name in named], np.int64),
        class_names=tuple(classes),
        root=folder,
    )


def check_renamed(folder: Path, key: str) -> None:
    """Refuses a folder that holds the set and has another name: read as class folders it would be one class.

    Raises:
        UserError: it does; begins with `key`.
    """
    name = PLACES["infrared_solar"].folder
    if (folder / METADATA).is_file():
        raise UserError(
            f"{key}: {METADATA} is the list of {name}, a set that is known by the name of its folder; valid: the same "
            f"folder under the name {name}"
        )


def _path(entry: Mapping[str, Any]) -> str:
    """The path of an image, which must lie in the folder of the set."""
    path = Path(str(entry["image_filepath"]))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"image_filepath {str(path)!r} leads out of the folder")
    return path.as_posix()


def _number(item: tuple[str, Any]) -> tuple[int, str]:
    """The entries by their number, whatever order the file has them in."""
    return int(item[0]), item[0]
