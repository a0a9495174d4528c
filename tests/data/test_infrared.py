"""InfraredSolarModules: its own list of files, its duplicates on one side of a split, its mistakes said in a line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.catalog import open_dataset
from bench.data.shape import ImageShape
from bench.errors import UserError
from bench.study.spec import DataSpec


def make(root: Path, names: list[str]) -> Path:
    """A small set in the published layout, one image an entry."""
    folder = root / "InfraredSolarModules"
    (folder / "images").mkdir(parents=True)
    numbers = np.random.default_rng(0)
    entries = {}
    for index, name in enumerate(names):
        pixels = numbers.integers(0, 256, (40, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.jpg")
        entries[str(index)] = {"image_filepath": f"images/{index}.jpg", "anomaly_class": name}
    (folder / "module_metadata.json").write_text(json.dumps(entries))
    return root


def test_the_list_names_images_and_classes(tmp_path: Path) -> None:
    root = make(tmp_path, ["Cell", "Diode", "Cell", "Soiling"] * 12)
    data = open_dataset(DataSpec(name="infrared_solar", root=str(root)), tmp_path / "results")
    assert data.shape == ImageShape(1, 40, 24)
    assert data.images.class_names == ("Cell", "Diode", "Soiling")
    assert data.images.paths[:3] == ["images/0.jpg", "images/1.jpg", "images/2.jpg"]
    np.testing.assert_array_equal(data.images.labels[:4], [0, 1, 0, 2])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "JSONDecodeError"),
        ('{"0": {"image_filepath": "../secret.jpg", "anomaly_class": "Cell"}}', "leads out of the folder"),
        ('{"0": {"anomaly_class": "Cell"}}', "image_filepath"),
        ("[]", "AttributeError"),
    ],
)
def test_a_list_that_is_not_the_published_one_is_refused(tmp_path: Path, text: str, told: str) -> None:
    root = make(tmp_path, ["Cell", "Diode"])
    (root / "InfraredSolarModules" / "module_metadata.json").write_text(text)
    with pytest.raises(UserError, match=told):
        open_dataset(DataSpec(name="infrared_solar", root=str(root)), tmp_path / "results")


def test_without_a_folder_or_with_another_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a folder"):
        open_dataset(DataSpec(name="infrared_solar"), tmp_path)
    with pytest.raises(UserError, match=r"holds no InfraredSolarModules$"):
        open_dataset(DataSpec(name="infrared_solar", root=str(tmp_path)), tmp_path)


def test_the_published_set_keeps_identical_files_together(real_data: Path, tmp_path: Path) -> None:
    data = open_dataset(DataSpec(name="infrared_solar", root=str(real_data)), tmp_path)
    counts = np.bincount(data.images.labels)
    assert counts.sum() == 20_000
    assert counts.max() // counts.min() == 57
    twins = [number for number, count in Counter(data.images.contents.tolist()).items() if count > 1]
    assert len(twins) == 22
    conflicting = [n for n in twins if len(set(data.images.labels[data.images.contents == n].tolist())) > 1]
    assert len(conflicting) == 6
    held = set(data.images.contents[np.concatenate([data.splits.validation, data.splits.test])].tolist())
    assert not held & set(data.images.contents[data.splits.train].tolist())


class TestClasses:
    def test_only_the_images_of_the_classes_named_are_kept_in_their_order(self, tmp_path: Path) -> None:
        whole = open_dataset(DataSpec(name="digits"), tmp_path)
        part = open_dataset(DataSpec(name="digits", classes=("7", "3")), tmp_path)
        assert part.images.class_names == ("7", "3")
        assert part.fingerprint != whole.fingerprint
        for label, name in enumerate(("7", "3")):
            old = whole.images.images[whole.images.labels == int(name)]
            np.testing.assert_array_equal(part.images.images[part.images.labels == label], old)

    @pytest.mark.parametrize(
        ("classes", "told"),
        [(("7", "eleven"), "unknown class 'eleven'"), (("7",), "at least 2"), (("7", "7"), "twice")],
    )
    def test_mistakes_are_named(self, tmp_path: Path, classes: tuple[str, ...], told: str) -> None:
        with pytest.raises((UserError, ValueError), match=told):
            open_dataset(DataSpec(name="digits", classes=classes), tmp_path)
