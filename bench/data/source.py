"""The keys of a data set before its images are read: which files, decoded how, split how (torch-free, fast)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.data.listing import list_files, list_images
from bench.data.place import DataPlugin, Place, accept_place
from bench.errors import UserError, unknown
from bench.store.datasets import GENERATED
from bench.store.keys import content_key, digest_bytes
from bench.study.plugins import DATASET_GROUP, Registry
from bench.study.spec import DataSpec

DECODE_VERSION = 1  # numerical version of reading and resizing
GENERATOR_VERSION = 1  # numerical version of the generated test beds
SPLIT_VERSION = 1  # numerical version of splits and draws
NEAR_VERSION = 1  # numerical version of what counts as a near duplicate


_BUILT_IN: dict[str, Place] = {
    "digits": Place(""),
    "fashion_mnist": Place("FashionMNIST/raw"),
    "cifar10": Place("cifar-10-batches-py"),
    "eurosat": Place("eurosat/2750"),
    "stl10": Place("stl10_binary"),
    "infrared_solar": Place("InfraredSolarModules", published=False),
    "dubai_aerial": Place("dubai_aerial", published=False),
    "cmp_facade": Place("cmp_facade", published=False),
    "oxford_pets": Place("oxford-iiit-pet"),
    "voc": Place("VOCdevkit/VOC2012"),
    "masks": Place(".", published=False),
    "land_cover": Place(""),
    "shape_scenes": Place(""),
    "folder": Place(".", published=False),
    "table": Place(".", published=False),
    "coco": Place(".", published=False),
    "shards": Place(".", published=False),
    "hub": Place(".", published=False),
}
PLACES: Registry[Place] = Registry(DATASET_GROUP, _BUILT_IN, accept_place)


def _table(root: str) -> object:
    from bench.data.tables import table_files  # NumPy and polars, which other data sets need not wait for

    return table_files(Path(root))


def _coco(root: str) -> object:
    from bench.data.coco import coco_listing

    return coco_listing(Path(root))


def _shards(root: str) -> object:
    from bench.data.shards import shard_listing

    return shard_listing(root)


def _hub(root: str) -> object:
    from bench.data.hub import hub_listing

    return hub_listing(root)


# The user's own data that are no tree of class folders: what a root, which may be a file or an address, consists of.
LISTINGS: dict[str, Callable[[str], object]] = {"table": _table, "coco": _coco, "shards": _shards, "hub": _hub}


def download_cache(name: str) -> Path:
    """Where a published data set is kept when the user names no root."""
    return Path.home() / ".cache" / "bench" / "data" / name


def find_place(name: str) -> Place:
    """Where the files of this data set lie.

    Raises:
        UserError: the name is not in the catalog.
    """
    if name not in PLACES:
        raise unknown("data set", name, PLACES, "data.name")
    return PLACES[name]


def files_folder(spec: DataSpec) -> Path | None:
    """The user's folder with the files of the data set; None where they come with a library or from a download.

    Raises:
        UserError: unknown name, root needed but not given, or no such files under the root.
    """
    place = find_place(spec.name)
    if spec.root is None:
        if not place.published:
            raise UserError(f"data.root: data set {spec.name!r} needs a folder with its images; none given")
        return None
    if not place.folder:
        origin = (
            "is generated" if spec.name in GENERATED or isinstance(place, DataPlugin) else "comes with scikit-learn"
        )
        raise UserError(f"data.root: data set {spec.name!r} {origin}; leave out {spec.root!r}")
    root = Path(spec.root).expanduser()
    if not root.is_dir():
        raise UserError(f"data.root: no folder {str(root)!r}")
    if not (root / place.folder).is_dir():
        advice = f"; leave out data.root to download {spec.name}" if place.published else ""
        raise UserError(f"data.root: {str(root)!r} holds no {place.folder}{advice}")
    return (root / place.folder).resolve()


def source_key(spec: DataSpec) -> str:
    """The key of the image store: the files (path, size, time of change) and how they are decoded.

    Where the folder lies is not part of it. A published set that is downloaded is known by its name.

    Raises:
        UserError: unknown name, missing root or files, links that lead out of the root.
    """
    place = find_place(spec.name)
    return content_key(
        "images",
        name=spec.name,
        files=_files(spec),
        image_size=spec.image_size,
        channels=spec.channels,
        on_error=spec.on_error,
        classes=spec.classes,
        chips=[spec.chip, spec.overlap, spec.test_tiles],
        generated=[spec.images, spec.bands, GENERATOR_VERSION],
        palette=_palette_digest(spec),
        version=DECODE_VERSION,
        **({} if spec.value_range is None else {"value_range": spec.value_range}),
        **({"plugin": place.version} if isinstance(place, DataPlugin) else {}),
    )


def _files(spec: DataSpec) -> object:
    """What the data consist of: names, sizes and times of change; None for a published set that is downloaded."""
    if spec.name in LISTINGS:
        if spec.root is None:
            raise UserError(f"data.root: data set {spec.name!r} needs the place of its images; none given")
        return LISTINGS[spec.name](spec.root)
    folder = files_folder(spec)
    listing = list_images if spec.name == "folder" else list_files
    return None if folder is None else listing(folder)


def _palette_digest(spec: DataSpec) -> str | None:
    """Digest of the palette file the options name; one in the folder is among the files."""
    if spec.palette is None:
        return None
    path = Path(spec.palette).expanduser()
    if not path.is_file():
        raise UserError(f"data.palette: there is no file {spec.palette!r}")
    return digest_bytes(path.read_bytes())


def data_key(spec: DataSpec, source: str | None = None) -> str:
    """The key of the images as one study splits them: the source key and the options of the split.

    Args:
        spec: which images, split how.
        source: `source_key(spec)` where it is known already; else the files are listed.

    Raises:
        UserError: as `source_key`.
    """
    return content_key(
        "data",
        source=source or source_key(spec),
        validation=spec.validation,
        test=spec.test,
        max_train=spec.max_train,
        max_test=spec.max_test,
        version=SPLIT_VERSION,
        **({} if spec.upstream is None else {"upstream": spec.upstream}),
        **({"near": NEAR_VERSION} if spec.keeps_near else {}),
    )
