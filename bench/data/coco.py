"""COCO annotations: each image under the one category it shows; what shows several is used for pretraining only."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bench.data.listing import list_files
from bench.data.naming import codes_or_none, inner_path, number_classes, split_of_file
from bench.data.raw import TRAIN, RawImages
from bench.errors import UserError

_IMAGE_FOLDERS = ("images", ".")  # where images lie beside the folder that holds the annotations
_HEAD = 4096  # bytes in which a file of annotations shows one of its keys
_KEYS = ("images", "annotations", "categories")


class _Entry(NamedTuple):
    path: str
    category: str | None
    code: int


def read_coco(root: Path) -> RawImages:
    """The images of one annotation file, or of all that lie in a folder or in its folder `annotations`.

    A file with train, val or test in its name gives its images to that split. An image whose annotations are of one
    category has that label; one without annotations, or with several categories, has none.

    Raises:
        UserError: no file of annotations, one that is damaged, an image that is not there or listed twice.
    """
    folder, files = coco_files(root)
    entries: dict[str, _Entry] = {}
    several = 0
    for file in files:
        code = split_of_file(file.stem) if len(files) > 1 else None
        found, mixed = _read_file(folder, file, TRAIN if code is None else code)
        several += mixed
        for entry in found:
            if entries.setdefault(entry.path, entry) is not entry:
                raise UserError(f"data.root: {file} lists the image {entry.path!r}, which is listed already")
    if not entries:
        raise UserError(f"data.root: the annotations of {folder} name no image")
    labels, classes = number_classes([entry.category for entry in entries.values()])
    notes = () if not several else (f"{several:,} images show several categories and are used without a label",)
    return RawImages(
        paths=tuple(entries),
        labels=labels,
        class_names=classes,
        root=folder,
        official=codes_or_none([entry.code for entry in entries.values()]),
        notes=notes,
    )


def coco_listing(root: Path) -> list[object]:
    """Every file of the folder with its size and time of change, and which of them hold the annotations."""
    folder, files = coco_files(root)
    return [*list_files(folder), [file.relative_to(folder).as_posix() for file in files]]


def coco_files(root: Path) -> tuple[Path, list[Path]]:
    """The folder that holds everything, and the annotation files in it.

    Raises:
        UserError: there is none.
    """
    root = root.resolve()
    if root.is_file():
        return (root.parent.parent if root.parent.name == "annotations" else root.parent), [root]
    found = [file for place in (root / "annotations", root) for file in sorted(place.glob("*.json")) if is_coco(file)]
    found = [file for file in found if not file.name.startswith(("captions", "person_keypoints"))]
    if not found:
        raise UserError(f"data.root: {root} holds no COCO annotations; wanted: *.json there or in annotations/")
    return root, found


def is_coco(file: Path) -> bool:
    """Whether the beginning of a JSON file looks like COCO's."""
    try:
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return False
    named = sum(f'"{key}"'.encode() in head for key in (*_KEYS, "info", "licenses"))
    return file.suffix.lower() == ".json" and head.lstrip().startswith(b"{") and named > 0


def _read_file(folder: Path, file: Path, code: int) -> tuple[list[_Entry], int]:
    """The images of one file, and how many of them show several categories."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        names = {item["id"]: str(item["name"]) for item in content["categories"]}
        shown: dict[Any, set[str]] = {}
        for item in content["annotations"]:
            shown.setdefault(item["image_id"], set()).add(names[item["category_id"]])
        images = [(item["id"], str(item["file_name"])) for item in content["images"]]
        _ = {number for number, _ in images}  # a number that is a list could be looked up nowhere
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"data.root: {file} cannot be read as COCO annotations ({type(error).__name__}: {error}); "
            f"valid: a JSON object with {', '.join(_KEYS)}"
        ) from None
    entries = list(_entries(folder, file, code, images, shown))
    return entries, sum(len(shown.get(number, ())) > 1 for number, _ in images)


def _entries(
    folder: Path, file: Path, code: int, images: list[tuple[Any, str]], shown: Mapping[Any, set[str]]
) -> Iterator[_Entry]:
    places = _places(folder, file)
    for number, name in images:
        where = f"data.root: {file.name}, image {number!r}, file_name"
        inner = inner_path(folder, name, where)
        place = next((place for place in places if (folder / place / inner).is_file()), None)
        if place is None:
            looked = ", ".join(str(folder / place) for place in places)
            raise UserError(f"{where}: there is no {name!r} in {looked}")
        path = inner_path(folder, (Path(place) / inner).as_posix(), where)
        categories = shown.get(number, set())
        yield _Entry(path, next(iter(categories)) if len(categories) == 1 else None, code)


def _places(folder: Path, file: Path) -> list[str]:
    """Folders, relative to `folder`, where the images of this file may lie: train2017 for instances_train2017.json."""
    after = file.stem.split("_", 1)[-1]
    named = [name for name in (after, f"images/{after}", file.stem) if (folder / name).is_dir()]
    beside = file.parent.relative_to(folder).as_posix()
    return list(dict.fromkeys([*named, *(name for name in (*_IMAGE_FOLDERS, beside) if (folder / name).is_dir())]))
