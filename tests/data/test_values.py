"""Images of more than 8 bits and of many bands: what is read, and how it becomes bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from pydantic import ValidationError

from bench.data.catalog import Dataset, open_dataset
from bench.data.decode import decode_file, read_header
from bench.data.source import data_key, source_key
from bench.data.values import HIGH, LOW, ValueRange, fit_bands
from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.spec import DataSpec


def bands(seed: int, count: int, high: int = 4000, dtype: str = "uint16") -> np.ndarray:
    """[count, 10, 12]."""
    return np.random.default_rng(seed).integers(0, high, (count, 10, 12)).astype(dtype)


def opened(root: Path, **options: object) -> tuple[Dataset, DataRecord]:
    spec = DataSpec(name="folder", root=str(root), **options)
    results = root.parent / "results"
    data = open_dataset(spec, results)
    record = DataRecord.load(results, data_key(spec))
    assert record is not None
    return data, record


def tree(tmp_path: Path, write: object, suffix: str) -> Path:
    for name in ("ant", "bee"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(6):
            write(tmp_path / "images" / name / f"{index}.{suffix}", index + 10 * (name == "bee"))  # type: ignore[operator]
    return tmp_path / "images"


@pytest.mark.parametrize("count", [1, 2, 4, 13])
@pytest.mark.parametrize("layout", ["pages", "pixels", "planes"])
def test_bands_of_16_bits_are_reduced_by_their_quantiles(tmp_path: Path, count: int, layout: str) -> None:
    def write(path: Path, seed: int) -> None:
        values = bands(seed, count) * np.arange(1, count + 1, dtype=np.uint16)[:, None, None]
        options = {"photometric": "minisblack"}
        if layout == "pixels" and count > 1:
            tifffile.imwrite(path, values.transpose(1, 2, 0), planarconfig="contig", **options)
        elif layout == "planes" and count > 1:
            tifffile.imwrite(path, values, planarconfig="separate", **options)
        else:
            tifffile.imwrite(path, values, **options)

    data, record = opened(tree(tmp_path, write, "tif"))
    everything = np.stack([tifffile.imread(tmp_path / "images" / path).reshape(-1) for path in data.images.paths])
    seeds = [int(Path(path).stem) + 10 * path.startswith("bee") for path in data.images.paths]
    values = np.stack([bands(seed, count) * np.arange(1, count + 1)[:, None, None] for seed in seeds])
    assert everything.size == values.size
    low, high = np.percentile(values.transpose(0, 2, 3, 1).reshape(-1, count), [LOW, HIGH], axis=0)
    wanted = np.clip((values.transpose(0, 2, 3, 1) - low) / (high - low), 0, 1) * 255
    assert data.images.images.shape == (12, 10, 12, count)
    np.testing.assert_allclose(data.images.images, wanted, atol=0.51)
    (note,) = record.notes
    assert f"{low[0]:g} to {high[0]:g}" in note
    assert note.endswith("of each band over 12 of all images")


def test_a_range_that_is_given_holds_for_every_image(tmp_path: Path) -> None:
    root = tree(tmp_path, lambda path, seed: Image.fromarray(bands(seed, 1)[0]).save(path), "png")
    data, record = opened(root, value_range=(1000, 3000))
    wanted = np.stack([np.asarray(Image.open(root / path)) for path in data.images.paths]).astype(float)
    np.testing.assert_allclose(data.images.images[..., 0], np.clip((wanted - 1000) / 2000, 0, 1) * 255, atol=0.51)
    assert record.notes == (
        "values of more than 8 bits were reduced to bytes: 1000 to 3000 became 0 to 255, as data.value_range says",
    )
    spec = DataSpec(name="folder", root=str(root))
    assert source_key(spec) != source_key(spec.model_copy(update={"value_range": (0.0, 1.0)}))


def test_the_quantiles_are_those_of_the_training_images(tmp_path: Path) -> None:
    for split, top in (("train", 1000), ("val", 60_000), ("test", 60_000)):
        for name in ("ant", "bee"):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for index in range(3):
                values = bands(hash((split, index)) % 1000 + (name == "bee"), 1, top)[0]
                Image.fromarray(values).save(tmp_path / "images" / split / name / f"{index}.png")
    _, record = opened(tmp_path / "images")
    (note,) = record.notes
    assert note.endswith("over 6 of the training images")
    assert float(note.split(" to ")[2].split()[0]) <= 1000


def test_eight_bits_of_many_bands_stay_as_they_are(tmp_path: Path) -> None:
    def write(path: Path, seed: int) -> None:
        tifffile.imwrite(path, bands(seed, 5, 256, "uint8"), photometric="minisblack", planarconfig="separate")

    data, record = opened(tree(tmp_path, write, "tif"))
    first = tifffile.imread(tmp_path / "images" / data.images.paths[0])
    np.testing.assert_array_equal(data.images.images[0], first.transpose(1, 2, 0))
    assert record.notes == ()


def test_usual_tiffs_are_pillows(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 4), np.uint8)
    for mode in ("L", "RGB", "RGBA", "CMYK"):
        image = Image.fromarray(pixels, "RGBA").convert(mode)
        image.save(tmp_path / "one.tif")
        assert read_header(tmp_path / "one.tif")[:3] == (10, 12, 1 if mode == "L" else 3)
        np.testing.assert_array_equal(decode_file(tmp_path / "one.tif", None, 3), np.asarray(image.convert("RGB")))


def test_bytes_are_read_as_files_are(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "one.tif", bands(0, 6), photometric="minisblack", planarconfig="separate")
    values = ValueRange(np.zeros(6, np.float32), np.full(6, 4000, np.float32))
    path, content = tmp_path / "one.tif", (tmp_path / "one.tif").read_bytes()
    assert read_header(path) == read_header(content) == (10, 12, 6, 16)
    np.testing.assert_array_equal(decode_file(path, 8, 6, values), decode_file(content, 8, 6, values))


@pytest.mark.parametrize("size", [(12, 30), (30, 12), (16, 16), (7, 9)])
def test_bands_are_resized_as_pictures_are(size: tuple[int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(100, 150, (*size, 3), np.uint8)  # Pillow cuts bytes off between passes
    Image.fromarray(pixels).save(tmp_path / "one.png")
    wanted = decode_file(tmp_path / "one.png", 10, 3)
    np.testing.assert_allclose(fit_bands(pixels, 10), wanted, atol=1.01)


def test_nan_and_infinity_are_no_values(tmp_path: Path) -> None:
    def write(path: Path, seed: int) -> None:
        values = bands(seed, 1)[0].astype(np.float32) / 4000
        values[0, 0], values[0, 1] = np.nan, np.inf
        tifffile.imwrite(path, values)

    data, _ = opened(tree(tmp_path, write, "tif"))
    assert (data.images.images[:, 0, 0, 0] == 0).all()
    assert (data.images.images[:, 0, 1, 0] == 255).all()
    assert data.images.images.std() > 60


def volume(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((2, 3, 8, 9), "u2"), imagej=True)


def test_mistakes_are_named(tmp_path: Path) -> None:
    root = tree(tmp_path, lambda path, seed: tifffile.imwrite(path, bands(seed, 1 + seed % 2)), "tif")
    with pytest.raises(UserError, match=r"the images have 1, 2 bands; all must have the same"):
        opened(root)
    with pytest.raises(ValidationError, match="two rising numbers are needed"):
        DataSpec(name="folder", root=str(root), value_range=(5, 5))
    (tmp_path / "scan").mkdir()
    volumes = tree(tmp_path / "scan", lambda path, _: volume(path), "tif")
    with pytest.raises(UserError, match=r"12 of 12 images cannot be used: ant/0.tif \(a TIFF with axes"):
        opened(volumes)
