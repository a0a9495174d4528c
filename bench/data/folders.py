"""The user's own images: a tree of class folders, with or without folders of an official split above them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.data.listing import list_images
from bench.data.naming import SPLITS, WITHOUT_LABEL, codes_or_none, number_classes
from bench.data.raw import TRAIN, RawImages
from bench.errors import UserError


def read_folder(root: Path) -> RawImages:
    """Finds the images of `root/<class>/**` or of `root/<split>/<class>/**`.

    Splits are recognised when every folder of the root is called train, val (valid, validation), test or unlabelled,
    and train is among them. Images of a folder unlabelled, and those that lie in the root or in train outside of any
    class folder, belong to the train pool and have no label; those directly in the other splits are left out.

    Raises:
        UserError: there are no class folders with images, or a link leads out of the root.
    """
    root = root.resolve()
    paths = [file.path for file in list_images(root)]
    split = has_splits([path.split("/")[0].lower() for path in paths if "/" in path])
    found = {path: _code_and_class(path, split) for path in paths}
    labels, classes = number_classes([name for _, name in found.values()])
    if not classes:
        where = "<class>/<image> or train/<class>/<image>"
        raise UserError(f"data.root: no images in class folders under {str(root)!r}; wanted {where}")
    codes = np.array([code for code, _ in found.values()], np.int8)
    kept = np.flatnonzero((codes == TRAIN) | (labels >= 0))
    lost = np.flatnonzero((codes != TRAIN) & (labels < 0))
    return RawImages(
        paths=tuple(paths[index] for index in kept),
        labels=labels[kept],
        class_names=classes,
        root=root,
        official=codes_or_none(codes[kept].tolist()),
        left_out=tuple((paths[index], "in no class folder of its split") for index in lost),
    )


def has_splits(top: Sequence[str]) -> bool:
    """Whether the folders of a root, in small letters, are those of an official split."""
    return "train" in top and set(top) <= set(SPLITS)


def _code_and_class(path: str, split: bool) -> tuple[int, str | None]:
    """The split and the class of an image, None where it has no label."""
    parts = path.split("/")
    first = parts[0].lower()
    code = SPLITS[first] if split and len(parts) > 1 else TRAIN
    depth = 1 if split else 0
    unlabelled = len(parts) < depth + 2 or first in WITHOUT_LABEL
    return code, None if unlabelled else parts[depth]
