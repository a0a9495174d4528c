"""Chips put together again: every pixel once, means where chips overlap."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.data.images import ImageStore
from bench.data.raw import IGNORE
from bench.data.scenes import starts
from bench.protocols.dense_metrics import DenseCounts
from bench.protocols.dense_scoring import class_table, score_maps

K, SIDE = 3, 8
TABLE = class_table(tuple(range(K)))


def scenes(seed: int = 0, size: tuple[int, int] = (24, 16), count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Masks [count, H, W] and class probabilities [count, K, H, W]."""
    numbers = np.random.default_rng(seed)
    masks = numbers.integers(0, K, (count, *size)).astype(np.uint8)
    masks[numbers.random(masks.shape) < 0.1] = IGNORE
    return masks, numbers.dirichlet(np.ones(K), (count, *size)).transpose(0, 3, 1, 2)


def store(masks: np.ndarray, boxes: np.ndarray | None) -> ImageStore:
    empty = np.zeros(len(masks), np.int64)
    images = np.zeros((*masks.shape, 1), np.uint8)
    return ImageStore(Path(), images, empty, empty, empty, empty, None, ("a", "b", "c"), "f", (), masks, boxes)


def cut(values: np.ndarray, overlap: int) -> tuple[np.ndarray, np.ndarray]:
    """Chips of maps [scenes, ..., H, W], and their boxes."""
    boxes = [
        (scene, top, left, SIDE)
        for scene in range(len(values))
        for top in starts(values.shape[-2], SIDE, overlap)
        for left in starts(values.shape[-1], SIDE, overlap)
    ]
    chips = [values[scene, ..., top : top + SIDE, left : left + SIDE] for scene, top, left, _ in boxes]
    return np.stack(chips), np.array(boxes)


def whole(masks: np.ndarray, probabilities: np.ndarray) -> DenseCounts:
    return score_maps(lambda batch: probabilities[batch], store(masks, None), np.arange(len(masks)), TABLE, K)


@pytest.mark.parametrize("overlap", [0, 3])
def test_chips_that_agree_score_as_their_scene(overlap: int) -> None:
    masks, probabilities = scenes()
    mask_chips, boxes = cut(masks, overlap)
    chips, _ = cut(probabilities, overlap)
    order = np.random.default_rng(0).permutation(len(boxes))
    together = score_maps(lambda batch: chips[batch], store(mask_chips, boxes), order, TABLE, K)
    expected = DenseCounts(K)
    for scene in range(len(masks)):  # the tolerance of boundaries is that of a scene
        expected.add(masks[scene][None], probabilities[scene].argmax(0)[None])
    np.testing.assert_array_equal(together.confusion, whole(masks, probabilities).confusion)
    np.testing.assert_array_equal(together.confusion, expected.confusion)
    np.testing.assert_array_equal(together.boundary, expected.boundary)
    assert together.confusion.sum() == (masks != IGNORE).sum()  # overlapping pixels count once


def test_overlapping_chips_are_averaged() -> None:
    masks = np.zeros((2, SIDE, SIDE), np.uint8)
    boxes = np.array([(0, 0, 0, SIDE), (0, 0, SIDE // 2, SIDE)])
    probabilities = np.zeros((2, K, SIDE, SIDE))
    probabilities[0, :, :, :] = np.array([0.6, 0.4, 0.0])[:, None, None]
    probabilities[1, :, :, :] = np.array([0.1, 0.9, 0.0])[:, None, None]
    counts = score_maps(lambda batch: probabilities[batch], store(masks, boxes), np.arange(2), TABLE, K)
    left, rest = SIDE * SIDE // 2, SIDE * SIDE
    np.testing.assert_array_equal(counts.confusion[0], [left, rest, 0])


def test_chips_resized_from_their_scene_leave_no_gap() -> None:
    boxes = np.array([(0, top, 0, 20) for top in starts(50, 20, 4)])  # 20 pixels of the scene became 8
    masks, probabilities = np.ones((len(boxes), SIDE, SIDE), np.uint8), np.zeros((len(boxes), K, SIDE, SIDE))
    probabilities[:, 1] = 1
    counts = score_maps(lambda batch: probabilities[batch], store(masks, boxes), np.arange(len(boxes)), TABLE, K)
    assert counts.confusion[1, 1] == counts.confusion.sum() == 20 * SIDE


def test_a_class_map_merges_and_ignores() -> None:
    masks, probabilities = scenes()
    table = class_table((1, None, 0))
    images = replace(store(masks, None))
    counts = score_maps(lambda batch: probabilities[batch, :2], images, np.arange(len(masks)), table, 2)
    np.testing.assert_array_equal(counts.confusion.sum(1), [(masks == 2).sum(), (masks == 0).sum()])


@pytest.mark.parametrize("overlap", [None, 3], ids=["images", "scenes"])
def test_scores_without_a_block_are_those_of_the_other_images(overlap: int | None) -> None:
    masks, probabilities = scenes(count=6)
    masks[0][masks[0] == 2] = 1
    boxes, of, chips, mask_chips = None, np.arange(6), probabilities, masks
    if overlap is not None:
        chips, _ = cut(probabilities, overlap)
        mask_chips, boxes = cut(masks, overlap)
        of = boxes[:, 0]
    images, blocks = store(mask_chips, boxes), of // 2  # two scenes a block

    def scored(indices: np.ndarray, blocks: np.ndarray | None = None) -> DenseCounts:
        return score_maps(lambda batch: chips[batch], images, indices, TABLE, K, blocks)

    everything = np.random.default_rng(0).permutation(len(mask_chips))
    counts = scored(everything, blocks)
    assert counts.metrics() == scored(everything).metrics()
    for block in range(3):
        rest = scored(np.flatnonzero(blocks != block)).metrics()
        assert {name: values[block] for name, values in counts.left_out().items()} == pytest.approx(rest)
    assert scored(everything).left_out() == {}
