"""What every data set of another package keeps to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.data.catalog import DATASETS, open_dataset
from bench.data.source import PLACES, data_key
from bench.study.spec import DataSpec


class DatasetContract:
    """The contract of a data set.

    Attributes:
        name: of the data set, as `data.name` has it.
        options: of the `data` section of a study, such as `root`.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    def spec(self) -> DataSpec:
        """The `data` section."""
        return DataSpec(name=self.name, **self.options)

    def test_the_reader_names_every_image_once(self) -> None:
        assert self.name in PLACES
        raw = DATASETS[self.name](self.spec())
        assert len(set(raw.paths)) == len(raw.paths) == len(raw.labels)
        assert raw.labels.dtype == np.int64
        assert raw.labels.min() >= -1
        assert raw.labels.max() < len(raw.class_names)
        again = DATASETS[self.name](self.spec())
        assert again.paths == raw.paths
        assert (again.labels == raw.labels).all()

    def test_it_opens_and_splits(self, tmp_path: Path) -> None:
        dataset = open_dataset(self.spec(), tmp_path)
        splits = dataset.splits
        parts = [splits.train, splits.validation, splits.test]
        assert all(len(part) for part in parts)
        assert len(np.unique(np.concatenate(parts))) == sum(len(part) for part in parts)
        assert (dataset.pool_counts > 0).all()
        assert dataset.images.images.dtype == np.uint8
        assert open_dataset(self.spec(), tmp_path).fingerprint == dataset.fingerprint

    def test_the_key_is_that_of_the_files(self) -> None:
        assert data_key(self.spec()) == data_key(self.spec())
