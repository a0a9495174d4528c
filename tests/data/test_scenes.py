"""Images with masks: palettes, chips, the readers, the draws that count images, and a line for every mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.data.catalog import Dataset, open_dataset
from bench.data.dense_draws import dense_budget, strata
from bench.data.palette import Palette, read_palette
from bench.data.scenes import starts
from bench.errors import UserError
from bench.study.spec import DataSpec

SIZE = (48, 40)  # width, height


def make(root: Path, count: int = 24, value: int | None = None) -> Path:
    """Scenes in the layout of `masks`: a block of class 1 or 2 on class 0, the border ignored."""
    numbers = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        mask = np.zeros(SIZE[::-1], np.uint8)
        mask[8 : 8 + 4 * (index % 6), 8:40] = 1 + index % 2
        mask[0] = 9
        if value is not None and index == 3:
            mask[20, :5] = value
        Image.fromarray(mask).save(root / "masks" / f"{index:02d}.png")
        picture = 80 * np.minimum(mask, 2)[..., None] + numbers.integers(0, 60, (*mask.shape, 3))
        Image.fromarray(picture.astype(np.uint8)).save(root / "images" / f"{index:02d}.png")
    (root / "palette.yaml").write_text("classes: {land: 0, water: 1, road: 2}\nignore: [9]\n")
    return root


def opened(root: Path, results: Path, **options: object) -> Dataset:
    return open_dataset(DataSpec(name="masks", root=str(root), **options), results)


def test_whole_scenes_have_the_class_of_every_pixel(tmp_path: Path) -> None:
    data = opened(make(tmp_path / "set"), tmp_path / "results", image_size=20)
    assert data.images.masks is not None
    assert data.images.masks.shape == data.images.images.shape[:3] == (24, 20, 20)
    assert data.images.class_names == ("land", "water", "road")
    assert set(np.unique(data.images.masks)) <= {0, 1, 2, 255}
    counts = np.stack([(data.images.masks == label).sum((1, 2)) for label in range(3)], 1)
    np.testing.assert_array_equal(data.images.histograms, counts)
    np.testing.assert_array_equal(data.images.labels, counts.argmax(1))
    assert data.images.boxes is None


def test_chips_cover_their_scene_and_keep_its_pixels(tmp_path: Path) -> None:
    root = make(tmp_path / "set")
    data = opened(root, tmp_path / "results", chip=16, overlap=4)
    images, boxes = data.images, data.images.boxes
    assert boxes is not None
    assert len(images.labels) == 24 * len(starts(48, 16, 4)) * len(starts(40, 16, 4))
    scene = np.asarray(Image.open(root / "masks" / "05.png"))
    whole = np.full(scene.shape, 77, np.uint8)
    for chip in np.flatnonzero(boxes[:, 0] == 5):
        _, top, left, side = boxes[chip]
        whole[top : top + side, left : left + side] = images.masks[chip]
    np.testing.assert_array_equal(whole, np.where(scene == 9, 255, scene))
    for name in ("validation", "test"):  # chips of one scene stay together
        inside = set(images.groups[getattr(data.splits, name)].tolist())
        assert not inside & set(images.groups[data.splits.train].tolist())


@given(st.integers(8, 200), st.integers(4, 64), st.integers(0, 63))
def test_chips_leave_no_gap(length: int, chip: int, overlap: int) -> None:
    if chip > length or overlap >= chip:
        return
    places = starts(length, chip, overlap)
    assert places[0] == 0
    assert places[-1] == length - chip
    steps = np.diff(places)
    assert (steps > 0).all()
    assert (steps <= chip - overlap).all()


@given(st.lists(st.tuples(*[st.integers(0, 50)] * 3), min_size=1, max_size=30))
def test_strata_are_a_function_of_the_shares(rows: list[tuple[int, int, int]]) -> None:
    histograms = np.array(rows, np.int64)
    numbers = strata(histograms)
    np.testing.assert_array_equal(numbers, strata(3 * histograms))
    for row in np.unique(histograms, axis=0):
        assert len(set(numbers[(histograms == row).all(1)].tolist())) == 1


def test_draws_count_images_nest_and_differ(tmp_path: Path) -> None:
    data = opened(make(tmp_path / "set", 60), tmp_path / "results", image_size=16)
    images, splits = data.images, data.splits
    for draw in range(3):
        large = dense_budget(images, splits, "20", draw)
        np.testing.assert_array_equal(dense_budget(images, splits, "7", draw), large[:7])
        assert len(set(large.tolist())) == 20
        assert set(large.tolist()) <= set(splits.train.tolist())
        shares = images.histograms[large].sum(0) / images.histograms[large].sum()
        pool = images.histograms[splits.train].sum(0) / images.histograms[splits.train].sum()
        np.testing.assert_allclose(shares, pool, atol=0.08)  # stratified: near the pool's
    assert set(dense_budget(images, splits, "7", 0)) != set(dense_budget(images, splits, "7", 1))
    assert len(dense_budget(images, splits, "all", 0)) == len(splits.train)
    with pytest.raises(UserError, match="larger than the train pool"):
        dense_budget(images, splits, "1000", 0)


@pytest.mark.parametrize(
    ("spoil", "options", "told"),
    [
        ("value", {"image_size": 16}, r"masks/?.*5 mask pixels with values not in the palette, such as 7|images/03.*7"),
        ("missing", {"image_size": 16}, "1 images without a mask, such as 'images/04.png'"),
        ("size", {"image_size": 16}, "its mask 10 x 10"),
        ("palette", {"image_size": 16}, "data.palette: none given"),
        ("none", {"chip": 64}, "data.chip: 64 pixels is larger than"),
        ("none", {}, "data.image_size: needed"),
        ("none", {"chip": 16, "overlap": 16}, "data.overlap: 16"),
        ("none", {"image_size": 16, "classes": ("land", "water")}, "data.classes"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, spoil: str, options: dict[str, object], told: str) -> None:
    root = make(tmp_path / "set", value=7 if spoil == "value" else None)
    if spoil == "missing":
        (root / "masks" / "04.png").unlink()
    if spoil == "size":
        Image.new("L", (10, 10)).save(root / "masks" / "02.png")
    if spoil == "palette":
        (root / "palette.yaml").unlink()
    with pytest.raises(UserError, match=told):
        opened(root, tmp_path / "results", **options)
    assert not list((tmp_path / "results").glob("artifacts/images/*/images.npy"))


def test_a_broken_scene_can_be_left_out(tmp_path: Path) -> None:
    root = make(tmp_path / "set", value=7)
    assert len(opened(root, tmp_path / "results", image_size=16, on_error="skip").images.labels) == 23


class TestPalette:
    def test_colours_and_indices_read_alike(self) -> None:
        indices = np.array([[1, 2], [2, 9]], np.uint8)
        colours = np.array([[10, 20, 30], [40, 50, 60], [0, 0, 0]], np.uint8)[np.where(indices == 9, 2, indices - 1)]
        by_index = Palette({"a": 1, "b": 2}, ignore=(9,)).read(Image.fromarray(indices))
        by_colour = Palette({"a": (10, 20, 30), "b": (40, 50, 60)}, ignore=((0, 0, 0),)).read(Image.fromarray(colours))
        np.testing.assert_array_equal(by_index, [[0, 1], [1, 255]])
        np.testing.assert_array_equal(by_colour, by_index)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "classes: [1, 2]",
            "classes: {a: 1, b: [1, 2, 3]}",
            "classes: {a: 1, b: 1}",
            "classes: {a: x, b: 2}",
            "a: [",
        ],
    )
    def test_what_is_no_palette_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "palette.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match=r"data\.palette"):
            read_palette(path)


class TestPublished:
    def test_dubai_is_split_by_tile_and_black_is_ignored(self, real_data: Path, tmp_path: Path) -> None:
        spec = DataSpec(
            name="dubai_aerial", root=str(real_data), chip=480, image_size=24, test_tiles=("Tile 3", "Tile 6")
        )
        data = open_dataset(spec, tmp_path)
        assert data.images.class_names == ("land", "water", "building", "vegetation", "road")
        assert len(set(data.images.groups[data.splits.test].tolist())) == 2
        share = data.images.histograms.sum(0) / data.images.histograms.sum()
        np.testing.assert_allclose(share, [0.53, 0.14, 0.13, 0.10, 0.09], atol=0.04)
        assert 0 < (data.images.masks == 255).mean() < 0.03

    def test_facades_have_twelve_classes(self, real_data: Path, tmp_path: Path) -> None:
        data = open_dataset(DataSpec(name="cmp_facade", root=str(real_data), image_size=16), tmp_path)
        assert len(data.images.labels) == 378
        present = (data.images.histograms > 0).sum(0)
        assert len(present) == 12
        assert present[1:3].tolist() == [378, 378]  # facade and window are in every one

    def test_an_unknown_tile_is_named(self, real_data: Path, tmp_path: Path) -> None:
        spec = DataSpec(name="dubai_aerial", root=str(real_data), chip=480, test_tiles=("Tile 9",))
        with pytest.raises(UserError, match="unknown tile 'Tile 9'"):
            open_dataset(spec, tmp_path)
