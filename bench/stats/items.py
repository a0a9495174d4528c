"""Test items: blocks to leave out, and the score of a bitmap on all blocks but one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from bench.errors import UserError, unknown
from bench.seeds import named_seed
from bench.stats.arrays import FloatArray, IntArray

BLOCKS = 20
FEWEST_OWN_GROUPS = 10
CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class TestItems:
    """The test split: class [N] and block [N] of each item, and where the blocks come from.

    `grouping` is "own groups" (whole groups of the data, merged into at most 20 blocks) or "blocks" (stratified
    pseudo-random).
    """

    __test__ = False  # not a test case, whatever its name begins with

    classes: IntArray
    blocks: IntArray
    grouping: str

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def counts(self) -> FloatArray:
        """Items of each block and class, [G, K]."""
        counts = np.zeros((self.blocks.max() + 1, self.classes.max() + 1))
        np.add.at(counts, (self.blocks, self.classes), 1.0)
        return counts


def read_items(items: pl.DataFrame) -> TestItems:
    """Test items in order, each with its block.

    Args:
        items: columns item (0..N-1, any order), label, group (null where the data has none).

    Raises:
        UserError: a column is missing, or `item` is not a numbering from 0.
    """
    for column in ("item", "label"):
        if column not in items.columns:
            raise unknown("column of the test items", column, items.columns, "items")
    ordered = items.sort("item")
    if not np.array_equal(ordered["item"].to_numpy(), np.arange(len(ordered))):
        raise UserError(f"items.item: expected every number from 0 to {len(items) - 1} once")
    _, classes = np.unique(ordered["label"].fill_null(-1).to_numpy(), return_inverse=True)
    blocks, grouping = _blocks(ordered, classes.astype(np.int64))
    return TestItems(classes.astype(np.int64), blocks, grouping)


def _blocks(items: pl.DataFrame, classes: IntArray) -> tuple[IntArray, str]:
    if "group" in items.columns and items["group"].null_count() == 0:
        own = np.unique(items["group"].to_numpy(), return_inverse=True)[1].astype(np.int64)
        if own.max() + 1 >= FEWEST_OWN_GROUPS:
            return _merged(own), "own groups"
    return _stratified(classes), "blocks"


def _merged(groups: IntArray) -> IntArray:
    """Whole groups in at most 20 blocks of similar size: the largest left goes to the emptiest block."""
    sizes = np.bincount(groups)
    if len(sizes) <= BLOCKS:
        return groups
    shuffled = np.random.default_rng(named_seed("test groups")).permutation(len(sizes))
    filled, block = np.zeros(BLOCKS), np.zeros(len(sizes), dtype=np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        block[group] = filled.argmin()
        filled[block[group]] += sizes[group]
    return block[groups]


def _stratified(classes: IntArray) -> IntArray:
    """Items shuffled by a named seed, then dealt class after class: each block holds its share of each class."""
    shuffled = np.random.default_rng(named_seed("test blocks")).permutation(len(classes))
    order = shuffled[np.argsort(classes[shuffled], kind="stable")]
    blocks = np.empty(len(classes), dtype=np.int64)
    blocks[order] = np.arange(len(classes)) % min(BLOCKS, len(classes))
    return blocks


def view_scores(bitmaps: Sequence[bytes], items: TestItems, metric: str) -> FloatArray:
    """Scores of each bitmap on every view of the test items, [rows, 1 + G]: all items, then all but block g.

    Args:
        bitmaps: correct test items in item order, `numpy.packbits`.
        items: the test items.
        metric: "accuracy", or "balanced_accuracy" (mean recall over the classes present in the view).
    """
    counts = _views(items.counts[None])  # [1, 1 + G, K]
    scores = np.empty((len(bitmaps), counts.shape[1]))
    step = max(1, CHUNK_BYTES // len(items))
    for start in range(0, len(bitmaps), step):
        kept = _views(_right(bitmaps[start : start + step], items))
        if metric == "accuracy":
            scores[start : start + step] = kept.sum(-1) / counts.sum(-1)
        else:
            recall = np.divide(kept, counts, out=np.zeros_like(kept), where=counts > 0)
            scores[start : start + step] = recall.sum(-1) / (counts > 0).sum(-1)
    return scores


def _views(counts: FloatArray) -> FloatArray:
    """Counts on all blocks and on all but each one: [rows, G, K] -> [rows, 1 + G, K]."""
    total = counts.sum(1, keepdims=True)
    return np.concatenate([total, total - counts], axis=1)


def _right(bitmaps: Sequence[bytes], items: TestItems) -> FloatArray:
    """Correct items of each bitmap by block and class, [rows, G, K]."""
    shape = (len(bitmaps), *items.counts.shape)
    cell = items.blocks * shape[2] + items.classes
    order = np.argsort(cell, kind="stable")
    present, starts = np.unique(cell[order], return_index=True)
    right = np.zeros((len(bitmaps), shape[1] * shape[2]))
    packed = np.stack([np.frombuffer(bitmap, dtype=np.uint8) for bitmap in bitmaps])
    answers = np.unpackbits(np.ascontiguousarray(packed.T), axis=0, count=len(items))[order]
    counted = np.uint16 if len(items) < 1 << 16 else np.uint32
    right[:, present] = np.add.reduceat(answers, starts, axis=0, dtype=counted).T
    return right.reshape(shape)
