"""Test images in blocks, to be left out one block after the other: the replicates of a jackknife over test images."""

from __future__ import annotations

import numpy as np

from bench.data.splits import Splits, shuffled

BLOCKS = 20
FEWEST_GROUPS = 10


def image_blocks(splits: Splits) -> np.ndarray:
    """The block of each image, int64 [N] of the whole store; -1 outside the test split.

    Images of a group stay together where ten groups or more are tested; fewer would make no jackknife, and images are
    dealt out one by one. Blocks depend on the split alone, so that those of any two entrants are the same
    and their difference can be taken without a block.
    """
    blocks = np.full(len(splits.groups), -1)
    groups, place = np.unique(splits.groups[splits.test], return_inverse=True)
    if len(groups) < FEWEST_GROUPS:
        groups = place = np.arange(len(splits.test))
    order = shuffled(np.arange(len(groups)), splits.digest, "test blocks")
    dealt = np.empty(len(groups), np.int64)
    dealt[order] = np.arange(len(groups)) % BLOCKS
    blocks[splits.test] = dealt[place]
    return blocks
