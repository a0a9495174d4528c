"""The image store: what Pillow and torchvision read is what it holds; what cannot be read is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as reference

from bench.data import decode
from bench.data.build import write_store
from bench.data.decode import fit
from bench.data.duplicates import MAX_CLUSTER, clusters, first_of_content
from bench.data.folders import read_folder
from bench.data.images import ImageStore
from bench.data.raw import TEST, TRAIN, VALIDATION
from bench.errors import UserError

Tree = Callable[..., Path]


def build(
    root: Path, size: int | None = None, channels: int | None = None, on_error: str = "fail", name: str = "store"
) -> ImageStore:
    folder = root.parent / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_store(read_folder(root), folder, image_size=size, channels=channels, on_error=on_error)
    return ImageStore.open(folder)


def test_holds_what_the_files_hold(tree: Tree) -> None:
    root = tree({"ant": 3, "bee": 2})
    store = build(root)
    assert store.images.shape == (5, 12, 12, 3)
    assert isinstance(store.images, np.memmap)
    assert not store.images.flags.writeable
    assert store.labels.tolist() == [0, 0, 0, 1, 1]
    assert store.class_names == ("ant", "bee")
    assert store.paths[3] == "bee/000.png"
    for path, image in zip(store.paths, store.images, strict=True):
        np.testing.assert_array_equal(image, np.asarray(Image.open(root / path)))


def test_grey_images_of_any_one_size_keep_it(tree: Tree) -> None:
    store = build(tree({"cell": 2, "diode": 2}, size=(24, 40), mode="L"))
    assert store.images.shape == (4, 40, 24, 1)


def test_statistics_are_those_of_the_pixels(tree: Tree) -> None:
    store = build(tree({"ant": 3, "bee": 2}))
    chosen = np.array([0, 2, 4])
    mean, std = store.channel_statistics(chosen)
    pixels = store.images[chosen] / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, pixels.std(axis=(0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(30, 47), (64, 33), (16, 16), (9, 20)])
def test_resizing_is_torchvisions(size: tuple[int, int], channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    resized = reference.resize(image.convert("RGB" if channels == 3 else "L"), 16, InterpolationMode.BICUBIC)
    wanted = np.asarray(reference.center_crop(resized, [16, 16]))
    np.testing.assert_array_equal(fit(image, 16, channels), wanted.reshape(16, 16, channels))


def test_large_jpegs_are_reduced_faithfully(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 600).astype(np.uint8)
    pixels = np.stack([np.tile(ramp, (400, 1)), np.tile(ramp[:400, None], (1, 600)), np.full((400, 600), 90)], axis=2)
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "ramp.jpg", quality=95)
    ours = decode.decode_file(tmp_path / "ramp.jpg", 32, 3).astype(int)
    whole = fit(Image.open(tmp_path / "ramp.jpg"), 32, 3)
    assert np.abs(ours - whole).max() <= 3


def test_mixed_sizes_need_an_image_size(tree: Tree) -> None:
    tree({"ant": 3}, size=(10, 8))
    root = tree({"bee": 2}, size=(12, 12))
    with pytest.raises(UserError, match=r"data.image_size: needed.* 2 sizes: 10 x 8 \(3\), 12 x 12 \(2\)"):
        build(root)
    assert build(root, size=8).images.shape == (5, 8, 8, 3)


class TestUnreadable:
    @pytest.fixture
    def root(self, tree: Tree) -> Path:
        root = tree({"ant": 4, "bee": 3})
        whole = (root / "ant/001.png").read_bytes()
        (root / "ant/001.png").write_bytes(whole[: len(whole) // 2])
        (root / "bee/001.png").write_text("no image at all")
        (root / "bee/002.png").unlink()
        tifffile.imwrite(root / "bee/002.tif", np.zeros((14, 12, 12), np.uint8), photometric="minisblack")
        return root

    def test_fails_naming_file_and_count(self, root: Path) -> None:
        with pytest.raises(UserError, match=r"3 of 7 .*bee/001.png \(not an image\).*14 bands, more") as error:
            build(root)
        assert "data.on_error: skip" in str(error.value)
        with pytest.raises(UserError, match=r"3 of 7 images .*ant/001.png \(.*truncated"):
            build(root, size=12, channels=3)

    @pytest.mark.parametrize("options", [{}, {"size": 12, "channels": 3}])
    def test_skips_and_says_so(self, root: Path, options: dict[str, int]) -> None:
        store = build(root, **options, on_error="skip")
        assert [path for path, _ in store.skipped] == ["ant/001.png", "bee/001.png", "bee/002.tif"]
        assert store.labels.tolist() == [0, 0, 0, 1]
        assert len(store.paths) == len(store.images) == len(store.groups) == len(store.moments) == 4
        for path, image in zip(store.paths, store.images, strict=True):
            np.testing.assert_array_equal(image, np.asarray(Image.open(root / path)))

    def test_the_clean_rest_has_the_same_fingerprint(self, root: Path) -> None:
        skipping = build(root, on_error="skip")
        for path, _ in skipping.skipped:
            (root / path).unlink()
        assert build(root, name="clean").fingerprint == skipping.fingerprint

    def test_nothing_readable_is_an_error_even_when_skipping(self, root: Path) -> None:
        for path in root.rglob("*.png"):
            path.write_text("")
        with pytest.raises(UserError, match="7 of 7"):
            build(root, on_error="skip")


def test_decompression_bombs_are_refused(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 100)
    with pytest.raises(UserError, match="12 x 12 pixels, more than the limit of 100"):
        build(tree({"ant": 1, "bee": 1}))


def test_one_class_is_no_task(tree: Tree) -> None:
    with pytest.raises(UserError, match=r"two classes or more .* \['ant'\]"):
        build(tree({"ant": 3}))


def test_the_fingerprint_is_the_content(tree: Tree) -> None:
    root = tree({"ant": 3, "bee": 2})
    first = build(root).fingerprint
    (root / "notes.txt").write_text("not an image")
    assert build(root).fingerprint == first
    shutil.move(root / "ant/002.png", root / "bee/002.png")
    assert build(root).fingerprint != first


@pytest.mark.parametrize(("threads", "seconds"), [(1, 0.0), (3, 0.0), (3, 99.0)], ids=["processes", "both", "threads"])
def test_threads_and_processes_read_what_one_reads(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, threads: int, seconds: float
) -> None:
    root = tree({"ant": 15, "bee": 4})
    (root / "ant/003.png").write_text("broken")
    monkeypatch.setattr("bench.data.parts.os.cpu_count", lambda: threads)
    alone = build(root, on_error="skip", name="alone")  # of one part
    monkeypatch.setattr("bench.data.parts._CHUNK", 2)
    monkeypatch.setattr("bench.data.parts._PARALLEL_FROM", seconds)
    together = build(root, on_error="skip", name="together")
    assert together.fingerprint == alone.fingerprint
    assert together.skipped == alone.skipped
    np.testing.assert_array_equal(together.images, alone.images)
    np.testing.assert_array_equal(together.moments, alone.moments)


def test_duplicates_share_a_group(tree: Tree) -> None:
    root = tree({"ant": 3, "bee": 2})
    shutil.copy(root / "ant/000.png", root / "bee/000.png")
    store = build(root)
    assert store.contents.tolist() == [0, 1, 2, 0, 4]
    assert store.groups.tolist() == [0, 1, 2, 0, 4]


@given(st.lists(st.integers(0, 3), max_size=120))
def test_clusters_hold_identical_images_and_are_capped(contents: list[int]) -> None:
    digests = np.repeat(np.array(contents, np.uint8)[:, None], 32, axis=1).reshape(-1, 32)
    first = first_of_content(digests)
    assert first.tolist() == [contents.index(content) for content in contents]
    groups = clusters(first)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        assert members[0] == group
        assert len(members) <= MAX_CLUSTER
        assert len(set(first[members])) == 1
    assert len(np.unique(groups)) == sum(-(-contents.count(content) // MAX_CLUSTER) for content in set(contents))


class TestFolders:
    def test_official_splits(self, tree: Tree) -> None:
        root = tree({"Train/ant": 2, "train/bee": 1, "valid/ant": 1, "test/bee": 2, "unlabelled/x": 1})
        raw = read_folder(root)
        found = dict(zip(raw.paths, zip(raw.labels.tolist(), raw.official.tolist(), strict=True), strict=True))
        assert found == {
            "Train/ant/000.png": (0, TRAIN), "Train/ant/001.png": (0, TRAIN), "train/bee/000.png": (1, TRAIN),
            "valid/ant/000.png": (0, VALIDATION), "test/bee/000.png": (1, TEST), "test/bee/001.png": (1, TEST),
            "unlabelled/x/000.png": (-1, TRAIN),
        }  # fmt: skip

    def test_a_class_may_be_called_train(self, tree: Tree) -> None:
        raw = read_folder(tree({"train/red": 1, "train/blue": 1, "plane": 1}))
        assert raw.class_names == ("plane", "train")
        assert raw.official is None

    def test_no_class_folders(self, tree: Tree) -> None:
        with pytest.raises(UserError, match=r"no images in class folders under .* wanted <class>/<image>"):
            read_folder(tree({".": 3}))
