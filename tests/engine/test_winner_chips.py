"""Images of other sizes: cut as the data set's were, put together as scoring puts scenes together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.decode import UnreadableError
from bench.data.images import ImageStore
from bench.data.palette import Palette
from bench.data.scenes import Cut, Scene, cut_scene
from bench.data.shape import ImageShape
from bench.engine.winner.chips import mapped
from bench.engine.winner.masks import mask_names
from bench.protocols.dense_scoring import class_table, score_maps

PALETTE = Palette({"dark": 0, "middle": 1, "light": 2})


def answer(chips: np.ndarray) -> np.ndarray:
    """Probabilities that depend on the whole chip, so that overlapping chips disagree."""
    level = chips.astype(np.float32).mean(-1) / 255
    level = (level + level.mean((1, 2), keepdims=True)) / 2
    logits = np.stack([-((level - middle) ** 2) * 60 for middle in (0.3, 0.5, 0.7)], 1)
    shares = np.exp(logits)
    return np.asarray(shares / shares.sum(1, keepdims=True))


def cut(picture: np.ndarray, classes: np.ndarray, folder: Path, chip: int | None, overlap: int, side: int) -> Cut:
    Image.fromarray(picture).save(folder / "image.png")
    Image.fromarray(classes).save(folder / "mask.png")
    found = cut_scene(Scene("a", folder / "image.png", folder / "mask.png", 0), PALETTE, chip, overlap, side, 3)
    assert isinstance(found, Cut)
    return found


@pytest.fixture
def picture() -> np.ndarray:
    numbers = np.random.default_rng(0)
    coarse = numbers.integers(40, 216, (10, 13, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((50, 38), Image.Resampling.BICUBIC))


def test_a_scene_is_put_together_as_it_is_scored(picture: np.ndarray, tmp_path: Path) -> None:
    classes = np.random.default_rng(1).integers(0, 3, picture.shape[:2]).astype(np.uint8)
    chips = cut(picture, classes, tmp_path, 16, 6, 16)
    count = np.arange(len(chips.pixels))
    boxes = np.column_stack([np.zeros(len(count), np.int64), chips.places])
    store = ImageStore(
        tmp_path, chips.pixels, count, count, count, count, None, tuple(PALETTE.classes), "", (), chips.masks, boxes
    )
    counts = score_maps(lambda batch: answer(chips.pixels[batch]), store, count, class_table((0, 1, 2)), 3)
    how = {"height": 16, "width": 16, "overlap": 6}
    found = mapped(picture, ImageShape(3, 16, 16), how, 3, answer)
    assert found.classes.shape == picture.shape[:2]
    pairs = np.zeros((3, 3), np.int64)
    np.add.at(pairs, (classes, found.classes), 1)
    assert (pairs == counts.confusion).all()
    assert len(np.unique(found.classes)) == 3
    assert 1 / 3 < found.confidence < 1


@pytest.mark.parametrize(("chip", "overlap", "side"), [(16, 0, 8), (16, 6, 8), (8, 2, 20), (None, 0, 12)])
def test_the_network_sees_what_it_was_trained_on(
    picture: np.ndarray, tmp_path: Path, chip: int | None, overlap: int, side: int
) -> None:
    chips, seen = cut(picture, np.zeros(picture.shape[:2], np.uint8), tmp_path, chip, overlap, side), []

    def watched(part: np.ndarray) -> np.ndarray:
        seen.append(part)
        return answer(part)

    how = None if chip is None else {"height": chip, "width": chip, "overlap": overlap}
    found = mapped(picture, ImageShape(3, side, side), how, 3, watched)
    assert (np.concatenate(seen) == chips.pixels).all()
    assert found.classes.shape == picture.shape[:2]


def test_an_image_smaller_than_a_chip_is_left_out(picture: np.ndarray) -> None:
    how = {"height": 40, "width": 40, "overlap": 0}
    with pytest.raises(UnreadableError, match=r"38 x 50 pixels, smaller than the network's 40 x 40"):
        mapped(picture, ImageShape(3, 40, 40), how, 3, answer)


def test_a_mask_has_the_name_of_its_image() -> None:
    assert mask_names(["a/b.jpg", "a/c.jpg", "a/c.png", "b.tif"]) == ["a/b.png", "a/c.jpg.png", "a/c.png.png", "b.png"]
    clash = mask_names(["a.jpg", "a.jpg.png", "a.png"])
    assert clash == ["a.jpg.png", "a.jpg.png.png", "a.png.png"]
