"""Clusters of near duplicates, and whether the split of a study would keep each of them together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.data.audit.clusters import groups_of
from bench.data.audit.survey import Survey
from bench.data.duplicates import clusters, join_groups, keep_near, within_splits
from bench.data.near import near_clusters
from bench.data.partition import draws_splits
from bench.store.datasets import OWN

_GROUP = "give those of a cluster one group, or keep one of each"


@dataclass(frozen=True)
class Alike:
    """Images that show the same.

    Attributes:
        names: int64 [N], cluster of each image, identical ones included.
        near: rows of each cluster that is more than copies of one image.
        fates: of each of these, in a few words: whether a split keeps it together.
        advice: what to do about them.
    """

    names: np.ndarray
    near: tuple[np.ndarray, ...]
    fates: tuple[str, ...]
    advice: str


def alike_images(seen: Survey, reader: str) -> Alike:
    """Finds them by the rule of the splits, on the images in their own size.

    Args:
        seen: what the survey found.
        reader: name of the data set in the catalog, which decides what a study does with them by default.
    """
    names = near_clusters(seen.hashes, lambda rows: seen.greys[rows])
    near = tuple(rows for rows in groups_of(names) if len(np.unique(seen.pixels[rows])) > 1)
    if seen.masked:
        return Alike(names, near, ("",) * len(near), _GROUP)
    if not draws_splits(seen.official):
        return Alike(names, near, tuple(_given(seen, rows) for rows in near), _GROUP)
    _, first, inverse = np.unique(seen.pixels, return_index=True, return_inverse=True)
    contents = first[inverse]
    groups = clusters(contents) if seen.groups is None else join_groups(seen.groups, contents)
    together = keep_near(groups, within_splits(names, seen.official)).groups if reader in OWN else groups
    fates = tuple(_given(seen, rows) or _drawn(together[rows]) for rows in near)
    return Alike(names, near, fates, _advice(reader))


def _given(seen: Survey, rows: np.ndarray) -> str:
    """What the splits that the data gives do with the images; nothing where they do not part them."""
    parted = seen.official is not None and len(np.unique(seen.official[rows])) > 1
    return "parted by the given splits" if parted else ""


def _drawn(groups: np.ndarray) -> str:
    return "kept together" if len(np.unique(groups)) == 1 else "not kept together"


def _advice(reader: str) -> str:
    if reader in OWN:
        return f"a study keeps together what is called so, unless data.duplicates is exact; of the others, {_GROUP}"
    return f"data.duplicates=near keeps a cluster on one side of a study's split; or {_GROUP}"
