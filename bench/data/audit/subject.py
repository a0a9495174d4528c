"""Which images a folder holds: class folders, or the layout of a data set of the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from bench.data.catalog import DATASETS
from bench.data.infrared import check_renamed
from bench.data.raw import RawImages
from bench.data.source import LISTINGS, PLACES
from bench.errors import UserError, unknown
from bench.study.spec import DataSpec

FOLDER = "folder"


class Subject(NamedTuple):
    """What is looked at: the images, and the name in the catalog of the reader that found them."""

    raw: RawImages
    name: str
    root: Path  # the folder that the data set's own layout starts from


def read_subject(folder: Path, name: str | None = None) -> Subject:
    """Reads which images there are and what is known of them; no image is decoded.

    Args:
        folder: class folders, the folder of a data set of the catalog, or the root that holds that folder.
        name: of the reader in the catalog; None recognises the layout.

    Raises:
        UserError: no folder, an unknown name, several data sets under it, or files that are not those of the set.
    """
    if name is not None and name not in DATASETS:
        raise unknown("data set", name, DATASETS, "--name")
    if name in LISTINGS:
        return Subject(DATASETS[name](DataSpec(name=name, root=str(folder))), name, folder)
    if not folder.is_dir():
        raise UserError(f"DIR: no folder {str(folder)!r}")
    if name is not None and not PLACES[name].folder:
        raise UserError(f"--name: {name} has no files; valid: {', '.join(_with_files())}")
    found = _recognised(folder.resolve(), name)
    return Subject(DATASETS[found[0]](DataSpec(name=found[0], root=str(found[1]))), *found)


def _with_files() -> list[str]:
    return sorted(name for name, place in PLACES.items() if place.folder)


def _recognised(folder: Path, name: str | None) -> tuple[str, Path]:
    """The reader for this folder, and the root it is to be given."""
    own = [known for known in _with_files() if PLACES[known].folder != "."]
    found = {known: root for known in own if (root := _root(folder, known)) is not None}
    if name is not None:
        return name, found.get(name, folder)
    if len(found) > 1:
        choices = ", ".join(f"{known} in {PLACES[known].folder}" for known in sorted(found))
        raise UserError(f"DIR: {str(folder)!r} holds several data sets ({choices}); say which with --name")
    if not found:
        check_renamed(folder, f"DIR {str(folder)!r}")
    return next(iter(found.items()), (FOLDER, folder))


def _root(folder: Path, name: str) -> Path | None:
    """The root under which this folder holds, or is, the files of the data set."""
    place = Path(PLACES[name].folder)
    if (folder / place).is_dir():
        return folder
    for depth in range(1, len(place.parts) + 1):
        if folder.parts[-depth:] == place.parts[:depth]:
            root = Path(*folder.parts[:-depth])
            return root if (root / place).is_dir() else None
    return None
