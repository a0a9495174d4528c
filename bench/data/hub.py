"""Image data sets of the Hugging Face library `datasets`: saved in a folder, or by their name on the hub."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.listing import list_files
from bench.data.naming import codes_or_none, number_classes, split_code
from bench.data.raw import RawImages
from bench.errors import UserError

_LABELS = ("label", "labels", "class", "target", "fine_label")  # columns, the first that is there


@dataclass(frozen=True)
class HubImages:
    """The images of a data set, read by (split, row); every process opens the data set once."""

    root: str
    splits: tuple[str, ...]
    column: str

    def read(self, place: np.ndarray) -> bytes:
        """The encoded image at (split, row)."""
        value = _encoded(self.root, self.column)[self.splits[int(place[0])]][int(place[1])][self.column]
        return value["bytes"] or b""


def read_hub(root: str) -> RawImages:
    """The column of images of a data set and the first column of labels; splits by their names; -1 is no label.

    Raises:
        UserError: the library is missing, there is no such data set, or it has no images or labels.
    """
    parts = load_parts(root)
    first = next(iter(parts.values()))
    column, label = _columns(root, first.features)
    splits, names, codes = tuple(parts), [], []
    for split, part in parts.items():
        names += _names(part.features[label], part[label])
        codes += [split_code(split, "data.root: split")] * len(part) if len(parts) > 1 else [0] * len(part)
    labels, classes = number_classes(names, getattr(first.features[label], "names", None))
    return RawImages(
        paths=tuple(f"{split}/{row}" for split, part in parts.items() for row in range(len(part))),
        labels=labels,
        class_names=classes,
        official=codes_or_none(codes),
        root=Path(root),
        packed=HubImages(root, splits, column),
        places=np.array([(n, row, 0) for n, split in enumerate(splits) for row in range(len(parts[split]))], np.int64),
    )


def hub_listing(root: str) -> object:
    """The files of a saved data set; one of the hub is known by its name."""
    return list_files(Path(root)) if Path(root).is_dir() else ["hub", root]


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by `save_to_disk`."""
    return (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file()


def load_parts(root: str) -> Mapping[str, Any]:
    """The splits of the data set by name.

    Raises:
        UserError: the library is missing, or the data set cannot be opened.
    """
    try:
        import datasets
    except ModuleNotFoundError:
        raise UserError("data.name: hub needs the library datasets; pip install 'pretextbench[hf]'") from None
    try:
        found = _load(datasets, root)
    except UserError:
        raise
    except Exception as error:  # the library has errors of its own for every way to miss
        reason = (str(error).strip().splitlines() or [""])[0]
        raise UserError(f"data.root: no data set {root!r} could be opened ({type(error).__name__}: {reason})") from None
    return found if isinstance(found, dict) else {"train": found}


def _load(datasets: Any, root: str) -> Any:
    if Path(root).is_dir():
        list_files(Path(root))  # refuses links that lead out
    if is_saved(Path(root)):
        return datasets.load_from_disk(root)
    # No revision is pinned: the library runs no code of a data set, and what came is in the fingerprint of the rows.
    return datasets.load_dataset(root)  # nosec B615


def _columns(root: str, features: Mapping[str, Any]) -> tuple[str, str]:
    """The column of images and the column of labels."""
    images = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    labels = [name for name in _LABELS if name in features]
    labels += [name for name, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    if not images or not labels:
        lacks = "images" if not images else f"labels ({', '.join(_LABELS)})"
        raise UserError(f"data.root: {root!r} has no column of {lacks}, only {', '.join(features)}")
    return images[0], labels[0]


def _names(feature: Any, values: Any) -> list[str | None]:
    """The class of each row; None where there is none."""
    declared = getattr(feature, "names", None)
    if declared is not None:
        return [None if value is None or value < 0 else declared[value] for value in values]
    return [None if value is None or value == "" or value == -1 else str(value) for value in values]


@functools.lru_cache(maxsize=4)
def _encoded(root: str, column: str) -> Mapping[str, Any]:
    """The splits with the column of images as bytes, not decoded."""
    from datasets import Image

    return {name: part.cast_column(column, Image(decode=False)) for name, part in load_parts(root).items()}
