"""The data sets by name, and opening one: decoded, split, measured, on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.data.build import write_store
from bench.data.coco import read_coco
from bench.data.coverage_draws import CoverageDraws
from bench.data.dense_readers import read_dubai, read_facade, read_masks, read_pets, read_voc
from bench.data.duplicates import Together, keep_near, within_splits
from bench.data.folders import read_folder
from bench.data.hub import read_hub
from bench.data.images import ImageStore
from bench.data.infrared import read_infrared_solar
from bench.data.near import grey_copies, near_clusters, perceptual_hashes
from bench.data.partition import draws_splits, is_partition, partition
from bench.data.place import DataPlugin, accept_place
from bench.data.raw import TRAIN, RawImages
from bench.data.readers import read_cifar10, read_digits, read_eurosat, read_fashion_mnist, read_stl10
from bench.data.shape import ImageShape
from bench.data.shards import read_shards
from bench.data.source import data_key, source_key
from bench.data.splits import Splits, Strategy, load_splits, splits_path
from bench.data.tables import read_table
from bench.errors import UserError
from bench.references import load_reference
from bench.store.artifacts import Artifacts
from bench.store.datasets import DataRecord, Duplicates
from bench.store.quarantine import set_aside
from bench.study.plugins import DATASET_GROUP, Registry
from bench.study.protocols import ALL
from bench.study.spec import DataSpec

Read = Callable[[DataSpec], RawImages]


def _late(address: str) -> Read:
    """A reader that is imported when it reads: scipy.ndimage takes a quarter of a second of every process."""
    return lambda spec: load_reference(address)(spec)


_BUILT_IN: dict[str, Read] = {
    "digits": read_digits,
    "fashion_mnist": read_fashion_mnist,
    "cifar10": read_cifar10,
    "eurosat": read_eurosat,
    "stl10": read_stl10,
    "infrared_solar": read_infrared_solar,
    "dubai_aerial": read_dubai,
    "cmp_facade": read_facade,
    "oxford_pets": read_pets,
    "voc": read_voc,
    "masks": read_masks,
    "land_cover": _late("bench.data.land_cover:read_land_cover"),
    "shape_scenes": _late("bench.data.shape_scenes:read_shape_scenes"),
    "folder": lambda spec: read_folder(Path(str(spec.root)).expanduser()),
    "table": lambda spec: read_table(Path(str(spec.root))),
    "coco": lambda spec: read_coco(Path(str(spec.root))),
    "shards": lambda spec: read_shards(str(spec.root)),
    "hub": lambda spec: read_hub(str(spec.root)),
}


def _reader(name: str, plugin: DataPlugin) -> Read:
    """The reader that a plug-in names."""
    accept_place(name, plugin)
    read: Read = load_reference(plugin.read)
    return read


DATASETS: Registry[Read] = Registry(DATASET_GROUP, _BUILT_IN, _reader)


@dataclass(frozen=True)
class Dataset:
    """Images, splits and the statistics of the images that pretraining reads: those of the train pool by default.

    Attributes:
        name: in the catalog.
        images: the image store.
        splits: train pool, validation and test.
        mean: float32 [C], of the images for pretraining, in units of [0, 1].
        std: float32 [C], likewise; 1 where a channel is constant.
    """

    name: str
    images: ImageStore
    splits: Splits
    mean: np.ndarray
    std: np.ndarray

    @property
    def shape(self) -> ImageShape:
        """Channels, height and width of one image."""
        height, width, channels = self.images.images.shape[1:]
        return ImageShape(channels, height, width)

    @property
    def fingerprint(self) -> str:
        """Content digest of images, labels and class names."""
        return self.images.fingerprint

    @cached_property
    def coverage(self) -> CoverageDraws:
        """The draws that choose images by coverage."""
        return CoverageDraws(self.images, self.splits)

    def budget(self, label_budget: str, draw: int, strategy: Strategy = "balanced") -> np.ndarray:
        """The images whose labels a protocol may see; arguments, order and errors as `Splits.budget`.

        With the strategy "coverage" they are as many as "uniform" draws, chosen by what the train pool looks like.
        """
        if strategy == "coverage" and label_budget != ALL:
            return self.coverage.budget(label_budget, draw)
        return self.splits.budget(label_budget, draw, strategy)

    @property
    def pool_counts(self) -> np.ndarray:
        """Labelled train-pool images of each class: int64 [classes]."""
        return self.splits.pool_counts


def open_dataset(spec: DataSpec, root: Path) -> Dataset:
    """Opens a data set, reading and splitting its images the first time.

    Args:
        spec: which images, at which size, split how.
        root: the results root, where the image store, the splits and the record are kept.

    Raises:
        UserError: the data cannot be used as asked; the message says which key, which file and what would do.
    """
    sources = source_key(spec)
    key = data_key(spec, sources)
    images = open_images(spec, root, sources)
    record = DataRecord.load(root, key)
    splits = None
    if record is not None and record.fingerprint == images.fingerprint:
        splits = load_splits(root, record.split_digest, images.labels, images.groups, images.class_names)
    if splits is not None and not is_partition(images, splits):
        set_aside(Path(root), splits_path(root, splits.digest), "not the splits that its name says")
        splits = None
    if splits is None:
        options = spec.model_dump(include={"validation", "test", "max_train", "max_test", "upstream"})
        near = _near(spec, images)
        splits = partition(images, **options, groups=None if near is None else near.groups)
        splits.save(root)
        _record(spec, key, sources, images, splits, None if near is None else near.counts).save(root)
    return Dataset(spec.name, images, splits, *images.channel_statistics(splits.pretraining))


def open_images(spec: DataSpec, root: Path, key: str) -> ImageStore:
    """The image store under this source key, built when there is none."""
    artifacts = Artifacts(root)
    if artifacts.find("images", key) is None:
        raw = DATASETS[spec.name](spec).of_classes(spec.classes)
        with artifacts.writing("images", key) as folder:
            options = spec.model_dump(include={"image_size", "channels", "on_error", "value_range"})
            write_store(raw, folder, **options)
    return ImageStore.open(artifacts.path("images", key))


def _near(spec: DataSpec, images: ImageStore) -> Together | None:
    """What stays together where near duplicates count; None where they do not, or no split is drawn.

    Raises:
        UserError: they are asked for, but every pixel has a class.
    """
    if not spec.keeps_near:
        return None
    if images.masks is not None:
        raise UserError(
            f"data.duplicates: near is for images with a label each; the chips of {spec.name} stay together by scene; "
            "valid: exact"
        )
    if spec.upstream is None and not draws_splits(images.official):
        return None
    near = near_clusters(perceptual_hashes(images.images), lambda rows: grey_copies(images.images[rows]))
    return keep_near(images.groups, within_splits(near, images.official))


def _record(
    spec: DataSpec, key: str, sources: str, images: ImageStore, splits: Splits, near: Duplicates | None
) -> DataRecord:
    return DataRecord(
        data_key=key,
        source_key=sources,
        name=spec.name,
        fingerprint=images.fingerprint,
        split_digest=splits.digest,
        image_shape=images.images.shape[1:],
        class_names=images.class_names,
        pool_counts=tuple(int(count) for count in splits.pool_counts),
        n_train=len(splits.train),
        n_upstream=0 if splits.upstream is None else len(splits.upstream),
        n_validation=len(splits.validation),
        n_test=len(splits.test),
        skipped=images.skipped + _dropped(images, splits),
        masked=images.masks is not None,
        shown=_shown(images, splits),
        notes=images.notes,
        near=near,
    )


def _shown(images: ImageStore, splits: Splits) -> tuple[tuple[int, ...], ...]:
    """How many images of train, validation and test show each class of the masks."""
    if images.histograms is None:
        return ()
    parts = (splits.train, splits.validation, splits.test)
    return tuple(tuple(int(count) for count in (images.histograms[part] > 0).sum(0)) for part in parts)


def _dropped(images: ImageStore, splits: Splits) -> tuple[tuple[str, str], ...]:
    """Images in no split: their pixels occur in the validation or test split, or they are in it without a label."""
    held = np.concatenate([splits.validation, splits.test, splits.pretraining])
    unused = np.setdiff1d(np.arange(len(images.labels)), np.concatenate([splits.train, held]))
    copies = unused[np.isin(images.contents[unused], images.contents[held])]
    why = (
        "same pixels as a validation or test image" if splits.upstream is None else "same pixels as an image elsewhere"
    )
    named = [(images.paths[index], why) for index in copies]
    if images.official is not None and images.masks is None:
        silent = np.flatnonzero((images.official != TRAIN) & (images.labels < 0))
        named += [(images.paths[index], "in the validation or test split, but without a label") for index in silent]
    return tuple(named)
