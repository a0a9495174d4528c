"""What readers of the user's own data share: names of classes, groups and splits to numbers, paths kept inside."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from bench.data.listing import links_allowed
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
_LONGEST = 255  # bytes of a name
WITHOUT_LABEL = ("unlabelled", "unlabeled")  # folders whose images have no label


def check_text(name: str, where: str) -> None:
    """Raises UserError where a name holds what UTF-8 cannot: it could be written to no file."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: {name!r} is not valid UTF-8; rename it") from None


def number_classes(
    names: Sequence[str | None], order: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels int64 [N], UNLABELLED where the name is None, and the names of the classes that occur.

    They stand in the order given, or else by the alphabet, numbers by value.
    """
    found = {name for name in names if name is not None}
    for name in found:
        check_text(name, "data.root: class")
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
        UserError: the path is absolute, climbs out of the folder, is a link that leads out, or is no name of a file.
    """
    check_text(name, where)
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or "\0" in name:
        raise UserError(f"{where}: {name!r} leads out of {folder}; paths are relative to it")
    if any(len(part.encode()) > _LONGEST for part in path.parts):
        raise UserError(f"{where}: {name[:60]!r}... is longer than the name of a file can be")
    if not links_allowed() and not (folder / path).resolve().is_relative_to(folder):
        raise UserError(f"{where}: {name!r} is a link out of {folder}; copy what it names into it")
    return path.as_posix()
