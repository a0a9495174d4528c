"""What a place holds, found without a word from the user."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.audit.subject import read_subject
from bench.data.inspect import find_spec, inspect_data
from bench.errors import UserError

Tree = Callable[..., Path]


def test_class_folders(tree: Tree) -> None:
    root = tree({"ant": 5, "bee": 3, "unlabelled": 4, ".": 2}, size=(20, 14))
    found = inspect_data(str(root))
    assert (found.kind, found.root, found.labelled, found.unlabelled) == ("folder", str(root), {"ant": 5, "bee": 3}, 6)
    assert (found.size, found.shorter, found.channels, found.bits) == ((20, 14), 14, 3, 8)
    wanted = "14 images, 2 classes (sub-folders), 20 x 14 RGB, 6 without a label, for pretraining only"
    assert found.describe() == wanted


def test_official_splits_sizes_depth_and_broken_files(tree: Tree) -> None:
    tree({"train/ant": 3, "train/bee": 3}, size=(8, 8), mode="L")
    root = tree({"test/ant": 2, "test/bee": 2, "val/ant": 1}, size=(30, 40))
    (root / "train/ant/999.png").write_text("broken")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(root / "train/bee/998.png")
    found = inspect_data(str(root))
    assert (found.labelled, found.validation, found.test) == ({"ant": 4, "bee": 4}, 1, 4)
    assert (found.size, found.sizes, found.channels, found.bits) == (None, (8, 30), 3, 16)
    assert found.unreadable == (("train/ant/999.png", "not an image"),)


def test_a_nest_of_folders_is_opened(tree: Tree) -> None:
    root = tree({"photos/2020/ant": 2, "photos/2020/bee": 2})
    assert find_spec(str(root)).root == str(root / "photos/2020")
    alone = root / "photos/2020"
    for image in sorted((alone / "bee").iterdir()):
        image.rename(alone / "ant" / f"bee{image.name}")
    (alone / "bee").rmdir()
    assert find_spec(str(root)).root == str(alone)  # a class of its own, which is named as too few


def test_tables_shards_and_annotations_are_told_from_folders(tree: Tree, tmp_path: Path) -> None:
    root = tree({"ant": 2, "bee": 2})
    (root / "notes.csv").write_text("anything,else\n1,2\n")
    assert find_spec(str(root)).name == "folder"
    (root / "labels.csv").write_text("path,label\nant/000.png,a\nbee/000.png,\n")
    assert (find_spec(str(root)).name, find_spec(str(root)).root) == ("table", str(root / "labels.csv"))
    (root / "more.csv").write_text("path,label\nant/001.png,a\n")
    with pytest.raises(UserError, match=r"holds several tables; name one: .*labels.csv, .*more.csv"):
        find_spec(str(root))
    assert inspect_data(str(root / "labels.csv")).unlabelled == 1
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "all.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert find_spec(str(tmp_path / "coco")).name == find_spec(str(tmp_path / "coco/all.json")).name == "coco"
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "a.tar", "w") as file:
        content = (root / "ant/000.png").read_bytes()
        for name, data in (("1.png", content), ("1.cls", b"ant"), ("2.png", content)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    for place in ("tars", "tars/a.tar"):
        found = inspect_data(str(tmp_path / place))
        assert (found.kind, found.labelled, found.unlabelled, found.size) == ("shards", {"ant": 1}, 1, (12, 12))
    assert find_spec("s3://bucket/train-{000..012}.tar").root == "s3://bucket/train-{000..012}.tar"
    assert (find_spec("hf:user/name").name, find_spec("hf:user/name").root) == ("hub", "user/name")


def test_a_saved_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    images = [Image.fromarray(np.full((6, 7), value, np.uint8)) for value in range(4)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    made = datasets.Dataset.from_dict({"image": images, "label": ["a", "b", "", "b"]}, features=features)
    made.save_to_disk(str(tmp_path / "saved"))
    found = inspect_data(str(tmp_path / "saved"))
    assert (found.kind, found.labelled, found.unlabelled, found.size) == ("hub", {"a": 1, "b": 2}, 1, (7, 6))


def test_published_sets_are_recognised(real_data: Path) -> None:
    real_data = real_data.resolve()  # as roots are
    found = inspect_data(str(real_data / "InfraredSolarModules"))
    assert (found.kind, found.root, found.images, found.size) == ("infrared_solar", str(real_data), 20_000, (24, 40))
    assert find_spec(str(real_data / "FashionMNIST")).name == "fashion_mnist"
    assert find_spec(str(real_data / "FashionMNIST/raw")).root == str(real_data)
    assert find_spec(str(real_data / "eurosat")).root == str(real_data / "eurosat/2750")
    with pytest.raises(UserError, match=r"holds several data sets; name one: .*/eurosat/2750"):
        find_spec(str(real_data))
    with pytest.raises(UserError, match=r"dubai_aerial, whose images have a class for every pixel"):
        inspect_data(str(real_data / "dubai_aerial"))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({".": 3}, r"3 images and no label; labels are needed to judge a pretraining.*CSV with the columns path and"),
        ({"unlabelled": 3, ".": 1}, "4 images and no label"),
        ({"empty": 0}, r"no images there; valid: .jpg"),
    ],
)
def test_nothing_to_judge(tree: Tree, counts: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        inspect_data(str(tree(counts)))
    assert "\n" not in str(error.value)


def test_places_that_are_none(tree: Tree) -> None:
    root = tree({"ant": 1})
    (root / "table.csv").write_text("path,label\nant/000.png,\n")
    with pytest.raises(UserError, match="1 images and no label"):
        inspect_data(str(root / "table.csv"))
    with pytest.raises(UserError, match=r"no such folder or file; valid: a folder of images, a CSV"):
        inspect_data("no/such/place")
    with pytest.raises(UserError, match=r"a file of a kind that lists no images; valid: .csv"):
        inspect_data(str(root / "ant/000.png"))
    (root / "ant/000.png").write_text("")
    (root / "table.csv").write_text("path,label\nant/000.png,a\n")
    with pytest.raises(UserError, match=r"none of the 1 images looked at can be read: ant/000.png \(not an image\)"):
        inspect_data(str(root))


def test_a_published_set_under_another_name_is_no_single_class(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((40, 24), np.uint8)).save(tmp_path / "images" / "0.jpg")
    (tmp_path / "module_metadata.json").write_text("{}")
    told = r"module_metadata.json is the list of InfraredSolarModules.*under the name InfraredSolarModules"
    with pytest.raises(UserError, match=f"--data .*{told}"):
        find_spec(str(tmp_path))
    with pytest.raises(UserError, match=f"DIR .*{told}"):
        read_subject(tmp_path)
