"""What somebody's place holds: which reader takes it, how many images, classes and sizes; no image is decoded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from bench.data.build import source_of
from bench.data.catalog import DATASETS
from bench.data.coco import is_coco
from bench.data.decode import Header, UnreadableError, read_header
from bench.data.folders import has_splits
from bench.data.hub import is_saved
from bench.data.infrared import check_renamed
from bench.data.listing import IMAGE_SUFFIXES, list_images
from bench.data.naming import WITHOUT_LABEL
from bench.data.raw import TEST, TRAIN, VALIDATION, RawImages
from bench.data.shards import SHARD_SUFFIX, is_address
from bench.data.source import PLACES
from bench.data.tables import TABLE_SUFFIXES, load_table
from bench.errors import UserError
from bench.study.inspection import Inspection
from bench.study.spec import DataSpec

HUB_PREFIX = "hf:"  # hf:user/name is a data set of the Hugging Face hub
_CLASS_TREES = ("eurosat",)  # published sets that any reader of class folders reads as well
_DENSE = ("dubai_aerial", "cmp_facade", "voc")  # published sets with a class for every pixel
_SAMPLE = 200  # images whose headers are read
_LABEL_THEM = (
    "labels are needed to judge a pretraining, a few of each class: put images into a folder named after their class, "
    "or list them in a CSV with the columns path and label; the others may stay as they are"
)


def inspect_data(place: str) -> Inspection:
    """Finds out what a place holds.

    Args:
        place: a folder, a table, a file of COCO annotations, shards (folder, pattern or address) or hf:NAME.

    Raises:
        UserError: there is nothing there that can be used, or no image has a label.
    """
    spec = find_spec(place)
    if spec.name in _DENSE:
        raise UserError(
            f"--data {place!r} is {spec.name}, whose images have a class for every pixel, and no study is proposed for "
            f"those; write one with data.name {spec.name}, data.root {spec.root} and the protocol segmentation"
        )
    raw = DATASETS[spec.name](spec)
    codes = np.full(len(raw.labels), TRAIN) if raw.official is None else raw.official
    known = raw.labels >= 0
    if not known.any():
        raise UserError(f"--data {place!r}: {len(raw.paths):,} images and no label; {_LABEL_THEM}")
    counts = np.bincount(raw.labels[known & (codes == TRAIN)], minlength=len(raw.class_names))
    headers, unreadable = _look(raw)
    shorter = sorted(min(header.height, header.width) for header in headers)
    sizes = Counter((header.width, header.height) for header in headers)
    return Inspection(
        kind=spec.name,
        root=spec.root,
        labelled=dict(zip(raw.class_names, counts.tolist(), strict=True)),
        unlabelled=int((~known & (codes == TRAIN)).sum()),
        validation=int((known & (codes == VALIDATION)).sum()),
        test=int((known & (codes == TEST)).sum()),
        shorter=shorter[len(shorter) // 10],
        pixels=float(np.mean([header.height * header.width for header in headers])),
        size=next(iter(sizes)) if len(sizes) == 1 else None,
        sizes=(shorter[0], shorter[-1]),
        channels=max(header.channels for header in headers),
        bits=max(header.bits for header in headers),
        unreadable=tuple(unreadable),
        sampled=len(headers) + len(unreadable),
        notes=raw.notes,
    )


def find_spec(place: str) -> DataSpec:
    """Which reader takes a place, and the root that it is given: absolute, unless it is an address or a name.

    Raises:
        UserError: nothing is there, or nothing that is known.
    """
    if place.startswith(HUB_PREFIX):
        return DataSpec(name="hub", root=place.removeprefix(HUB_PREFIX))
    if is_address(place) or place.endswith(SHARD_SUFFIX):
        return DataSpec(name="shards", root=place if is_address(place) else str(Path(place).expanduser().absolute()))
    path = Path(place).expanduser()
    if not path.exists():
        raise UserError(
            f"--data {place!r}: no such folder or file; valid: a folder of images, a CSV or Parquet table, COCO "
            f"annotations, *{SHARD_SUFFIX} shards or {HUB_PREFIX}NAME"
        )
    path = path.resolve()
    if path.is_file():
        return _of_file(path)
    return _published(path, place) or _of_folder(path, place)


def _of_file(path: Path) -> DataSpec:
    if path.suffix.lower() in TABLE_SUFFIXES:
        return DataSpec(name="table", root=str(path))
    if is_coco(path):
        return DataSpec(name="coco", root=str(path))
    valid = ", ".join((*TABLE_SUFFIXES, ".json (COCO)", SHARD_SUFFIX))
    raise UserError(f"--data {path}: a file of a kind that lists no images; valid: {valid}, or a folder")


def _published(path: Path, place: str) -> DataSpec | None:
    """The data set of the catalog whose files lie there, known by the name of their folder."""
    within = [name for name, known in PLACES.items() if len(known.folder) > 1 and (path / known.folder).is_dir()]
    if len(within) > 1:
        listed = ", ".join(f"{place.rstrip('/')}/{PLACES[name].folder}" for name in sorted(within))
        raise UserError(f"--data {place!r} holds several data sets; name one: {listed}")
    if within:
        return DataSpec(name=within[0], root=str(path))
    for name, known in PLACES.items():
        parts = Path(known.folder).parts
        for depth in range(1, len(parts) + 1) if name not in _CLASS_TREES else ():
            if path.parts[-depth:] == parts[:depth] and path.joinpath(*parts[depth:]).is_dir():
                return DataSpec(name=name, root=str(path.parents[depth - 1]))
    return None


def _of_folder(path: Path, place: str) -> DataSpec:
    if is_saved(path):
        return DataSpec(name="hub", root=str(path))
    check_renamed(path, f"--data {place!r}")
    tables = [file for file in sorted(path.iterdir()) if file.suffix.lower() in TABLE_SUFFIXES and _lists(file)]
    if len(tables) > 1:
        raise UserError(f"--data {place!r} holds several tables; name one: {', '.join(map(str, tables))}")
    if tables:
        return DataSpec(name="table", root=str(tables[0]))
    if any(is_coco(file) for place in ("annotations", ".") for file in (path / place).glob("*.json")):
        return DataSpec(name="coco", root=str(path))
    if any(path.glob(f"*{SHARD_SUFFIX}")):
        return DataSpec(name="shards", root=str(path))
    images = list_images(path)
    if not images:
        raise UserError(f"--data {place!r}: no images there; valid: {', '.join(IMAGE_SUFFIXES)}")
    if all(_is_unlabelled(image.path) for image in images):
        raise UserError(f"--data {place!r}: {len(images):,} images and no label; {_LABEL_THEM}")
    return DataSpec(name="folder", root=str(_innermost(path, [image.path for image in images])))


def _innermost(path: Path, images: list[str]) -> Path:
    """The folder itself, or the one within it that holds everything: an archive often unpacks into such a nest."""
    tops = {image.split("/")[0] for image in images}
    if len(tops) > 1 or any(image.count("/") < 2 for image in images) or has_splits([top.lower() for top in tops]):
        return path
    top = tops.pop()
    return _innermost(path / top, [image.removeprefix(f"{top}/") for image in images])


def _lists(file: Path) -> bool:
    """Whether a table has the columns of a list of images."""
    try:
        return len(load_table(file)) > 0
    except UserError:
        return False


def _is_unlabelled(path: str) -> bool:
    return "/" not in path or path.split("/")[0].lower() in WITHOUT_LABEL


def _look(raw: RawImages) -> tuple[list[Header], list[tuple[str, str]]]:
    """The headers of an evenly spread sample, and what could not be read.

    Raises:
        UserError: nothing could.
    """
    if raw.pixels is not None:
        return [Header(*raw.pixels.shape[1:])], []
    headers, unreadable = [], []
    for item in np.unique(np.linspace(0, len(raw.paths) - 1, min(_SAMPLE, len(raw.paths))).astype(int)):
        try:
            headers.append(read_header(source_of(raw, int(item))))
        except UnreadableError as error:
            unreadable.append((raw.paths[item], str(error)))
    if not headers:
        path, reason = unreadable[0]
        raise UserError(f"--data: none of the {len(unreadable)} images looked at can be read: {path} ({reason})")
    return headers, unreadable
