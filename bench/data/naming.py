"""What readers of the user's own data share: names of classes, groups and splits to numbers, paths kept inside."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from bench.data.raw import TEST, TRAIN, UNLABELLED, VALIDATION
from bench.errors import UserError, unknown

SPLITS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "unlabelled": TRAIN,
    "unlabeled": TRAIN,
    "unsupervised": TRAIN,
}
WITHOUT_LABEL = ("unlabelled", "unlabeled")  # folders whose images have no label


def number_classes(
    names: Sequence[str | None], order: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels int64 [N], UNLABELLED where the name is None, and the names of the classes that occur.

    They stand in the order given, or else by the alphabet, numbers by value.
    """
    found = {name for name in names if name is not None}
    classes = sorted(found, key=_by_value) if order is None else [name for name in order if name in found]
    number = {name: index for index, name in enumerate(classes)}
    return np.array([UNLABELLED if name is None else number[name] for name in names], np.int64), tuple(classes)


def _by_value(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name)


def number_groups(names: Sequence[Hashable | None]) -> np.ndarray:
    """Groups int64 [N]; images without a group have one each."""
    number: dict[Hashable, int] = {}
    keys = [("alone", index) if name is None else ("group", name) for index, name in enumerate(names)]
    return np.array([number.setdefault(key, len(number)) for key in keys], np.int64)


def split_code(name: str, where: str) -> int:
    """The code of a split by one of its usual names.

    Raises:
        UserError: it has another name.
    """
    code = SPLITS.get(name.strip().lower())
    if code is None:
        raise unknown("split", name, ("train", "validation", "test"), where)
    return code


def split_of_file(name: str) -> int | None:
    """The split that a word in a file name tells, as in `instances_val2017.json`; None where none does."""
    words = "".join(letter if letter.isalpha() else " " for letter in name.lower()).split()
    codes = {SPLITS[word] for word in words if word in SPLITS}
    return codes.pop() if len(codes) == 1 else None


def codes_or_none(codes: Sequence[int]) -> np.ndarray | None:
    """Official splits int8 [N]; None where all images are for training, as then nothing is held out yet."""
    return np.array(codes, np.int8) if any(code != TRAIN for code in codes) else None


def inner_path(folder: Path, name: str, where: str) -> str:
    """A path as the user's file spells it, checked to stay in its folder, with forward slashes.

    Args:
        folder: resolved.
        name: relative to the folder.
        where: key and place of the name, for the message.

    Raises:
        UserError: the path is absolute, climbs out of the folder, or is a link that leads out.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or "\0" in name:
        raise UserError(f"{where}: {name!r} leads out of {folder}; paths are relative to it")
    if not (folder / path).resolve().is_relative_to(folder):
        raise UserError(f"{where}: {name!r} is a link out of {folder}; copy what it names into it")
    return path.as_posix()
