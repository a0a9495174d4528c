"""Which images of a folder have labels, which could be given one, and the file to fill in."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min

from bench.data.audit.subject import Subject, read_subject
from bench.data.listing import list_images
from bench.data.raw import TRAIN, UNLABELLED, RawImages
from bench.errors import UserError
from bench.seeds import named_seed
from bench.store.files import replacing

HEAD = ("path", "label")


class Pool(NamedTuple):
    """Images of one set: what they are, and bool [N] which have labels already and which could be given one."""

    subject: Subject
    labelled: np.ndarray
    open: np.ndarray


def label_pool(folder: Path, name: str | None, filled: Path | None) -> Pool:
    """The images of a folder and which of them have labels.

    Without a file they have the labels that the folder gives them; with one, those that the file gives, and no others.
    Images of an official validation or test split are never among those to label.

    Args:
        folder: class folders with an `unlabelled` one beside them, plain images, or a data set of the catalog.
        name: of the reader in the catalog; None recognises the layout.
        filled: a CSV with the columns path and label, as `write_open` writes it; rows without a label do not count.

    Raises:
        UserError: a folder or file that cannot be read, or no image is without a label.
    """
    subject = _subject(folder, name)
    raw = subject.raw
    if raw.masks is not None:
        raise UserError(f"DIR: every pixel of {subject.name} has a class; which images to label is for image labels")
    labelled = raw.labels >= 0 if filled is None else np.isin(raw.paths, sorted(_labelled_in(filled, raw)))
    train = np.ones(len(labelled), bool) if raw.official is None else raw.official == TRAIN
    if not (train & ~labelled).any():
        raise UserError(
            f"DIR: all {len(labelled):,} images of {str(folder)!r} have labels; put others into a folder 'unlabelled', "
            "or say with --labelled FILE which have one"
        )
    return Pool(subject, labelled, train & ~labelled)


def _subject(folder: Path, name: str | None) -> Subject:
    if name is None and folder.is_dir():
        paths = tuple(file.path for file in list_images(folder))
        if paths and not any("/" in path for path in paths):
            labels = np.full(len(paths), UNLABELLED)
            return Subject(RawImages(paths, labels, (), root=folder.resolve()), "plain images", folder)
    return read_subject(folder, name)


def _labelled_in(filled: Path, raw: RawImages) -> set[str]:
    """The paths that have a label in the file."""
    try:
        with filled.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in HEAD if name not in (table.fieldnames or ())]
            rows = [] if missing else list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--labelled: {str(filled)!r} cannot be read as CSV ({error})") from error
    if missing:
        raise UserError(f"--labelled: {str(filled)!r} has no column {missing[0]!r}; wanted: {', '.join(HEAD)}")
    named = {(row["path"] or "").removeprefix("./") for row in rows if (row["label"] or "").strip()}
    strange = sorted(named - set(raw.paths))
    if strange:
        raise UserError(f"--labelled: {str(filled)!r} names {strange[0]!r}, which is no image of DIR")
    return named


def random_order(rows: np.ndarray, seed: int) -> np.ndarray:
    """The rows in a random order, of which a smaller choice is a prefix of a larger one."""
    return np.random.default_rng(named_seed("label random", seed)).permutation(rows)


def mean_distance(points: np.ndarray, chosen: np.ndarray) -> float:
    """Mean distance from an image to the nearest chosen one: float [n, D], float [m, D]."""
    return float(pairwise_distances_argmin_min(points, chosen)[1].mean())


def check_target(to: Path) -> None:
    """Raises UserError where the file is there already, and may hold labels, or there is no such folder."""
    if to.exists():
        raise UserError(f"--to: {str(to)!r} is there already and may hold labels; name another file")
    if not to.absolute().parent.is_dir():
        raise UserError(f"--to: no folder {str(to.absolute().parent)!r}")


def write_open(paths: list[str], to: Path) -> None:
    """Writes the file to fill in: a line for each image, its label empty."""
    with replacing(to) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        # With ./ in front of what a spreadsheet would run; the path stays the same.
        writer.writerows(
            (f"./{path}" if path.startswith(("=", "+", "-", "@", "\t", "\r")) else path, "") for path in paths
        )
