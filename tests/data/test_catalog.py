"""Every data set of the catalog, opened as a user would, against the loaders of scikit-learn and torchvision."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from bench.data import readers
from bench.data.catalog import DATASETS, open_dataset
from bench.data.raw import TEST
from bench.data.shape import ImageShape
from bench.data.source import PLACES, data_key, source_key
from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.spec import DataSpec

Tree = Callable[..., Path]


def test_every_data_set_has_its_place() -> None:
    assert set(DATASETS) == set(PLACES)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


class TestDigits:
    def test_are_scikit_learns(self, results: Path) -> None:
        data, wanted = open_dataset(DataSpec(name="digits"), results), load_digits()
        assert data.shape == ImageShape(1, 8, 8)
        np.testing.assert_allclose(data.images.images[..., 0] / 255, wanted.images / 16, atol=0.5 / 255)
        np.testing.assert_array_equal(data.images.labels, wanted.target)
        assert data.images.class_names == tuple("0123456789")
        blocks = np.bincount(data.images.groups)
        assert len(blocks) == 13
        assert set(blocks.tolist()) <= {138, 139}

    def test_statistics_are_those_of_the_train_pool(self, results: Path) -> None:
        data = open_dataset(DataSpec(name="digits"), results)
        pixels = data.images.images[data.splits.train] / 255
        np.testing.assert_allclose([data.mean[0], data.std[0]], [pixels.mean(), pixels.std()], rtol=1e-5)
        assert data.pool_counts.sum() == len(data.splits.train)

    def test_reopening_gives_the_same_and_the_record_says_it(self, results: Path) -> None:
        spec = DataSpec(name="digits", max_train=600, max_test=200)
        first, again = open_dataset(spec, results), open_dataset(spec, results)
        assert first.splits.digest == again.splits.digest
        for name in ("train", "validation", "test"):
            np.testing.assert_array_equal(getattr(first.splits, name), getattr(again.splits, name))
        record = DataRecord.load(results, data_key(spec))
        assert record.source_key == source_key(spec)
        assert (record.n_train + record.n_validation, record.n_test) == (600, 200)
        assert record.pool_counts == tuple(first.pool_counts.tolist())
        assert (record.fingerprint, record.split_digest) == (first.fingerprint, first.splits.digest)
        assert record.image_shape == (8, 8, 1)
        assert (results / "splits" / f"{record.split_digest}.parquet").exists()

    def test_blocks_are_harder_than_a_random_split(self, results: Path) -> None:
        """Why digits are grouped: the same writer on both sides flatters a neighbour search."""
        data = open_dataset(DataSpec(name="digits"), results)
        flat = data.images.images.reshape(len(data.images.labels), -1)
        knn = KNeighborsClassifier(1).fit(flat[data.splits.train], data.images.labels[data.splits.train])
        assert 0.94 < knn.score(flat[data.splits.test], data.images.labels[data.splits.test]) < 0.99

    def test_resizing_and_colour(self, results: Path) -> None:
        assert open_dataset(DataSpec(name="digits", image_size=16, channels=3), results).shape == ImageShape(3, 16, 16)

    def test_reopening_imports_nothing_heavy(self, results: Path) -> None:
        open_dataset(DataSpec(name="digits"), results)
        code = (
            "import sys; from pathlib import Path\n"
            "from bench.data.catalog import open_dataset; from bench.study.spec import DataSpec\n"
            f"open_dataset(DataSpec(name='digits'), Path({str(results)!r}))\n"
            "sys.exit(any(name in sys.modules for name in ('torch', 'torchvision', 'sklearn', 'joblib', 'ray')))"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_fashion_mnist_is_torchvisions(real_data: Path, tmp_path: Path) -> None:
    from torchvision.datasets import FashionMNIST

    spec = DataSpec(name="fashion_mnist", root=str(real_data), max_train=2000, max_test=500)
    data = open_dataset(spec, tmp_path)
    shutil.copytree(real_data / "FashionMNIST", tmp_path / "copy" / "FashionMNIST")
    wanted = FashionMNIST(tmp_path / "copy", train=False, download=True)  # the files are there: it unpacks them
    tests = data.images.official == TEST
    np.testing.assert_array_equal(data.images.images[tests][..., 0], wanted.data.numpy())
    np.testing.assert_array_equal(data.images.labels[tests], wanted.targets.numpy())
    assert data.images.class_names == tuple(wanted.classes)
    assert len(data.images.labels) == 70_000
    assert np.isin(data.splits.test, np.flatnonzero(tests)).all()
    assert not np.isin(data.splits.train, np.flatnonzero(tests)).any()
    assert np.bincount(data.splits.labels[data.splits.test]).tolist() == [50] * 10
    assert not (real_data / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").exists()


def test_eurosat_is_torchvisions(real_data: Path, tmp_path: Path) -> None:
    from torchvision.datasets import EuroSAT

    data = open_dataset(DataSpec(name="eurosat", root=str(real_data)), tmp_path)
    wanted = EuroSAT(real_data)
    assert data.shape == ImageShape(3, 64, 64)
    assert data.images.class_names == tuple(wanted.classes)
    assert data.images.labels.tolist() == wanted.targets
    for index in (0, 6000, 13_499):
        np.testing.assert_array_equal(data.images.images[index], np.asarray(wanted[index][0]))
    shares = np.bincount(data.splits.labels[data.splits.test]) / np.bincount(data.images.labels)
    np.testing.assert_allclose(shares, 0.2, atol=1e-3)


def test_a_folder_of_thermal_images_with_duplicates(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "InfraredSolarModules"
    cards = json.loads((source / "module_metadata.json").read_text())
    taken: Counter[str] = Counter()
    for number, card in cards.items():
        label = card["anomaly_class"]
        if label in ("Cell", "Soiling", "No-Anomaly") and taken[label] < 60:
            taken[label] += 1
            (tmp_path / "tree" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(source / card["image_filepath"], tmp_path / "tree" / label / f"{number}.jpg")
    first = sorted((tmp_path / "tree" / "Cell").iterdir())[0]
    shutil.copy(first, tmp_path / "tree" / "Soiling" / "copy.jpg")
    data = open_dataset(DataSpec(name="folder", root=str(tmp_path / "tree")), tmp_path / "results")
    assert data.shape == ImageShape(1, 40, 24)
    twins = np.flatnonzero(data.images.contents == data.images.contents[data.images.paths.index("Soiling/copy.jpg")])
    assert len(twins) == 2
    assert len(set(data.images.groups[twins])) == 1
    homes = [name for name in ("train", "validation", "test") if np.isin(twins, getattr(data.splits, name)).any()]
    assert len(homes) == 1


class TestFolder:
    def test_train_images_that_occur_in_the_test_split_are_dropped_and_named(self, tree: Tree, tmp_path: Path) -> None:
        root = tree({"train/ant": 20, "train/bee": 20, "test/ant": 5, "test/bee": 5})
        shutil.copy(root / "test/ant/000.png", root / "train/bee/copy.png")
        spec = DataSpec(name="folder", root=str(root))
        data = open_dataset(spec, tmp_path / "results")
        assert data.images.paths.index("train/bee/copy.png") not in data.splits.train
        assert len(data.splits.train) + len(data.splits.validation) == 40
        record = DataRecord.load(tmp_path / "results", data_key(spec))
        assert record.skipped == (("train/bee/copy.png", "same pixels as a validation or test image"),)

    def test_unreadable_images_are_recorded(self, tree: Tree, tmp_path: Path) -> None:
        root = tree({"ant": 20, "bee": 20})
        (root / "ant/003.png").write_text("broken")
        spec = DataSpec(name="folder", root=str(root), on_error="skip")
        open_dataset(spec, tmp_path / "results")
        assert DataRecord.load(tmp_path / "results", data_key(spec)).skipped == (("ant/003.png", "not an image"),)

    def test_changed_files_make_a_new_store(self, tree: Tree, tmp_path: Path) -> None:
        root = tree({"ant": 20, "bee": 20})
        spec = DataSpec(name="folder", root=str(root))
        first = open_dataset(spec, tmp_path / "results")
        (root / "ant/003.png").unlink()
        second = open_dataset(spec, tmp_path / "results")
        assert len(second.images.labels) == len(first.images.labels) - 1
        assert second.fingerprint != first.fingerprint

    def test_a_failed_build_leaves_nothing(self, tree: Tree, tmp_path: Path) -> None:
        root = tree({"ant": 20, "bee": 20})
        (root / "ant/003.png").write_text("broken")
        with pytest.raises(UserError, match="1 of 40 images"):
            open_dataset(DataSpec(name="folder", root=str(root)), tmp_path / "results")
        assert [path for path in (tmp_path / "results").rglob("*") if path.is_file()] == []


class TestDownloads:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(readers, "download_cache", lambda name: tmp_path / "cache" / name)
        return tmp_path / "cache"

    def test_a_failed_download_is_one_clear_line(
        self, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from torchvision.datasets import CIFAR10

        def refuse(self: CIFAR10) -> None:
            raise URLError("no route to host")

        monkeypatch.setattr(CIFAR10, "download", refuse)
        message = r"cifar10 could not be downloaded \(.*no route to host.*<data.root>/cifar-10-batches-py"
        with pytest.raises(UserError, match=message) as error:
            open_dataset(DataSpec(name="cifar10"), tmp_path / "results")
        assert "\n" not in str(error.value)
        assert list(cache.iterdir()) == []

    def test_a_download_arrives_whole_and_is_kept(self, cache: Path) -> None:
        downloads = []

        def load(root: Path, download: bool) -> str:
            if download:
                downloads.append(root)
                (root / "file").write_text("here")
            return (root / "file").read_text()

        assert [readers._from_cache("toy", load) for _ in range(2)] == ["here", "here"]
        assert len(downloads) == 1
        assert [path.name for path in cache.iterdir()] == ["toy"]

    def test_a_root_without_the_right_files_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "cifar-10-batches-py").mkdir()
        with pytest.raises(UserError, match="does not hold cifar10"):
            open_dataset(DataSpec(name="cifar10", root=str(tmp_path)), tmp_path / "results")
        (tmp_path / "FashionMNIST" / "raw").mkdir(parents=True)
        with pytest.raises(UserError, match=r"train-images-idx3-ubyte\[.gz\] cannot be read"):
            open_dataset(DataSpec(name="fashion_mnist", root=str(tmp_path)), tmp_path / "results")
