"""The user's own images: a tree of class folders, with or without folders of an official split above them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.data.listing import list_images
from bench.data.raw import TEST, TRAIN, UNLABELLED, VALIDATION, RawImages
from bench.errors import UserError

_SPLITS = {
    "train": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "unlabelled": TRAIN,
    "unlabeled": TRAIN,
}
_UNLABELLED = ("unlabelled", "unlabeled")


def read_folder(root: Path) -> RawImages:
    """Finds the images of `root/<class>/**` or of `root/<split>/<class>/**`.

    Splits are recognised when every folder of the root is called train, val (valid, validation), test or unlabelled,
    and train is among them; images under unlabelled belong to the train pool and have no label. Images that lie in no
    class folder are left alone, as in torchvision's ImageFolder.

    Raises:
        UserError: there are no class folders with images, or a link leads out of the root.
    """
    root = root.resolve()
    paths = [file.path for file in list_images(root)]
    split = _has_splits([path.split("/")[0].lower() for path in paths if "/" in path])
    depth = 1 if split else 0
    found = [path for path in paths if len(path.split("/")) > depth + 1 or (split and _is_unlabelled(path))]
    if not found:
        where = "<class>/<image> or train/<class>/<image>"
        raise UserError(f"data.root: no images in class folders under {str(root)!r}; wanted {where}")
    names = [None if split and _is_unlabelled(path) else path.split("/")[depth] for path in found]
    classes = sorted({name for name in names if name is not None})
    number = {name: index for index, name in enumerate(classes)}
    return RawImages(
        paths=tuple(found),
        labels=np.array([UNLABELLED if name is None else number[name] for name in names], np.int64),
        class_names=tuple(classes),
        root=root,
        official=np.array([_SPLITS[path.split("/")[0].lower()] for path in found], np.int8) if split else None,
    )


def _has_splits(top: Sequence[str]) -> bool:
    return "train" in top and set(top) <= set(_SPLITS)


def _is_unlabelled(path: str) -> bool:
    return path.split("/")[0].lower() in _UNLABELLED and "/" in path
