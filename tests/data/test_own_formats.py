"""COCO, WebDataset shards and Hugging Face data sets, from files as their own libraries write them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.data import shards
from bench.data.catalog import open_dataset
from bench.data.coco import read_coco
from bench.data.hub import read_hub
from bench.data.raw import TEST, TRAIN, VALIDATION
from bench.data.shards import read_shards
from bench.data.source import source_key
from bench.errors import UserError
from bench.study.spec import DataSpec

Tree = Callable[..., Path]


def picture(seed: int, size: tuple[int, int] = (12, 10)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def png(seed: int, size: tuple[int, int] = (12, 10)) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(seed, size)).save(stream, "PNG")
    return stream.getvalue()


class TestCoco:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "coco"
        shown = {"train": {1: [1], 2: [2, 2], 3: [1, 2], 4: []}, "val": {5: [2]}}
        for split, images in shown.items():
            (root / f"{split}2017").mkdir(parents=True)
            for number in images:
                (root / f"{split}2017" / f"{number:012d}.png").write_bytes(png(number))
            self.write(root, split, images)
        return root

    @staticmethod
    def write(root: Path, split: str, images: dict[int, list[int]]) -> None:
        (root / "annotations").mkdir(exist_ok=True)
        pairs = [(number, category) for number, categories in images.items() for category in categories]
        box = {"bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0, "segmentation": [[0, 0, 4, 0, 4, 4]]}
        content = {
            "info": {},
            "images": [{"id": n, "file_name": f"{n:012d}.png", "width": 12, "height": 10} for n in images],
            "annotations": [
                {"id": n, "image_id": image, "category_id": category, **box}
                for n, (image, category) in enumerate(pairs)
            ],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        }
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))

    def test_one_category_is_a_label_and_splits_are_those_of_the_files(self, root: Path) -> None:
        raw = read_coco(root)
        found = dict(zip(raw.paths, zip(raw.labels.tolist(), raw.official.tolist(), strict=True), strict=True))
        assert found == {
            "train2017/000000000001.png": (0, TRAIN),
            "train2017/000000000002.png": (1, TRAIN),
            "train2017/000000000003.png": (-1, TRAIN),
            "train2017/000000000004.png": (-1, TRAIN),
            "val2017/000000000005.png": (1, VALIDATION),
        }
        assert raw.class_names == ("cat", "dog")
        assert raw.notes == ("1 images show several categories and are used without a label",)

    def test_labels_are_pycocotools(self, root: Path) -> None:
        coco = pytest.importorskip("pycocotools.coco")
        file = root / "annotations" / "instances_train2017.json"
        reference, raw = coco.COCO(str(file)), read_coco(file)
        for path, label in zip(raw.paths, raw.labels, strict=True):
            (number,) = [n for n in reference.getImgIds() if reference.loadImgs(n)[0]["file_name"] == Path(path).name]
            shown = {item["category_id"] for item in reference.loadAnns(reference.getAnnIds(imgIds=[number]))}
            names = {reference.loadCats(category)[0]["name"] for category in shown}
            assert ({raw.class_names[label]} == names) if label >= 0 else len(names) != 1

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda content: content["images"][0].update(file_name="../../secret.png"), "leads out of"),
            (lambda content: content["images"][0].update(file_name="none.png"), "there is no 'none.png' in"),
            (lambda content: content["annotations"][0].update(category_id=9), r"cannot be read as COCO .*KeyError: 9"),
            (lambda content: content.pop("images"), "KeyError: 'images'"),
        ],
    )
    def test_mistakes_are_one_line(self, root: Path, change: Callable[[Any], object], message: str) -> None:
        file = root / "annotations" / "instances_train2017.json"
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))
        with pytest.raises(UserError, match=message) as error:
            read_coco(root)
        assert "\n" not in str(error.value)


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


class TestShards:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        for number in range(3):
            members = {}
            for index in range(8):
                seed = 8 * number + index
                members[f"{seed:04d}.png"] = png(seed)
                if index < 6:
                    members[f"{seed:04d}.cls"] = str(seed % 2 + 9).encode()
            tar(tmp_path / "shards" / f"train-{number:03d}.tar", members)
        tar(tmp_path / "shards" / "test-000.tar", {"x/1.png": png(100), "x/1.json": b'{"label": 10}'})
        return tmp_path / "shards"

    def test_pixels_labels_and_splits(self, root: Path, tmp_path: Path) -> None:
        data = open_dataset(DataSpec(name="shards", root=str(root)), tmp_path / "results")
        images = data.images
        assert images.class_names == ("9", "10")
        for path, pixels, label, code in zip(images.paths, images.images, images.labels, images.official, strict=True):
            shard, key = path.split(".tar/")
            seed = 100 if shard == "test-000" else int(key)
            np.testing.assert_array_equal(pixels, picture(seed))
            assert label == (1 if seed == 100 else -1 if seed % 8 >= 6 else seed % 2)
            assert code == (TEST if seed == 100 else TRAIN)

    def test_samples_are_those_of_webdataset(self, root: Path) -> None:
        webdataset = pytest.importorskip("webdataset")
        pattern = str(root / "train-{000..002}.tar")
        raw = read_shards(pattern)
        wanted = list(webdataset.WebDataset(pattern, shardshuffle=False))
        assert [path.split("/")[1] for path in raw.paths] == [sample["__key__"] for sample in wanted]
        for place, sample, label in zip(raw.places, wanted, raw.labels, strict=True):
            assert raw.packed.read(place) == sample["png"]
            assert (raw.class_names[label].encode() if label >= 0 else None) == sample.get("cls")

    def test_an_address_is_fetched_once_and_gives_the_same(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import fsspec

        monkeypatch.setattr(shards, "shard_cache", lambda: tmp_path / "cache")
        memory = fsspec.filesystem("memory")
        for file in root.glob("train-*.tar"):
            memory.pipe(f"/bucket/{file.name}", file.read_bytes())
        address = "memory://bucket/train-{000..002}.tar"
        here, there = read_shards(str(root / "train-{000..002}.tar")), read_shards(address)
        assert (there.paths, there.labels.tolist()) == (here.paths, here.labels.tolist())
        kept = sorted((tmp_path / "cache").rglob("*.tar"))
        assert len(kept) == 3
        monkeypatch.setattr(type(memory), "get_file", lambda *_: pytest.fail("fetched again"))
        read_shards(address)
        spec = DataSpec(name="shards", root=address)
        assert spec.root == address
        first = source_key(spec)
        memory.pipe("/bucket/train-001.tar", b"something else")
        assert source_key(spec) != first

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"../1.png": b""}, "'../1.png' of .* is a link or leads out"),
            ({"1.png": b"", "1.jpg": b""}, "sample '1' of .* has two images"),
            ({"1.txt": b""}, "no images in the shards"),
            ({"1.png": b"", "1.json": b"{"}, r"'1.json' of .* cannot be read as a label"),
        ],
    )
    def test_mistakes_are_one_line(self, tmp_path: Path, members: dict[str, bytes], message: str) -> None:
        with pytest.raises(UserError, match=message) as error:
            read_shards(str(tar(tmp_path / "bad.tar", members)))
        assert "\n" not in str(error.value)

    def test_links_and_packed_shards_are_refused(self, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "link.tar", "w") as file:
            member = tarfile.TarInfo("1.png")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/hosts"
            file.addfile(member)
        with pytest.raises(UserError, match="is a link or leads out"):
            read_shards(str(tmp_path / "link.tar"))
        with tarfile.open(tmp_path / "packed.tar", "w:gz") as file:
            file.addfile(tarfile.TarInfo("1.png"))
        with pytest.raises(UserError, match="no tar file that can be read"):
            read_shards(str(tmp_path / "packed.tar"))

    @pytest.mark.parametrize(
        ("root", "message"),
        [
            ("no-such-protocol://x/1.tar", "cannot be read"),
            ("memory://none/1.tar", "cannot be read"),
            ("simplecache::memory://none/1.tar", "a chain of addresses"),
            ("shards/{5..2}.tar", "is no range"),
            ("nothing-here.tar", "no file 'nothing-here.tar'"),
        ],
    )
    def test_places_that_are_none(self, root: str, message: str) -> None:
        with pytest.raises(UserError, match=message) as error:
            read_shards(root)
        assert "\n" not in str(error.value)


class TestHub:
    @pytest.fixture
    def saved(self, tmp_path: Path) -> Path:
        datasets = pytest.importorskip("datasets")
        features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=["zoo", "ant", "none"])}
        )

        def part(first: int, count: int) -> Any:
            images = [Image.fromarray(picture(seed)) for seed in range(first, first + count)]
            labels = [-1 if seed % 5 == 4 and first == 0 else seed % 2 for seed in range(first, first + count)]
            return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)

        datasets.DatasetDict({"train": part(0, 20), "test": part(40, 6)}).save_to_disk(str(tmp_path / "saved"))
        return tmp_path / "saved"

    def test_a_saved_data_set(self, saved: Path, tmp_path: Path) -> None:
        data = open_dataset(DataSpec(name="hub", root=str(saved)), tmp_path / "results")
        assert data.images.class_names == ("zoo", "ant")
        for row, path in enumerate(data.images.paths):
            split, number = path.split("/")
            seed = int(number) + (40 if split == "test" else 0)
            np.testing.assert_array_equal(data.images.images[row], picture(seed))
            assert data.images.labels[row] == (-1 if seed % 5 == 4 and seed < 40 else seed % 2)
            assert data.images.official[row] == (TEST if split == "test" else TRAIN)

    def test_mistakes_are_one_line(self, tmp_path: Path) -> None:
        datasets = pytest.importorskip("datasets")
        datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).save_to_disk(str(tmp_path / "text"))
        with pytest.raises(UserError, match=r"has no column of images, only text, label"):
            read_hub(str(tmp_path / "text"))

    def test_without_the_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "datasets", None)
        with pytest.raises(UserError, match=r"needs the library datasets; pip install 'pretextbench\[hf\]'"):
            read_hub("anything")
