"""Images that an embedding puts unusually close together, though their perceptual hashes differ."""

from __future__ import annotations

import numpy as np

from bench.data.audit.clusters import clusters_of
from bench.data.audit.copies import labels_of
from bench.data.audit.embedding import NEIGHBOURS, Neighbours
from bench.data.audit.findings import Case, Finding, counted
from bench.data.audit.survey import Survey

RATIO = 0.15  # distance of the nearest neighbour over that of the tenth, below which the two belong together


def close_images(seen: Survey, neighbours: Neighbours, alike: np.ndarray, name: str) -> list[Finding]:
    """Pairs whose distance is a small part of that to the tenth neighbour, so that dense regions do not count as copies
    (the ratio test of Lowe, Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004, section 7.1).

    Args:
        seen: what the survey found.
        neighbours: of each image, from `neighbours_of`.
        alike: int64 [N], clusters known to show the same; their pairs are not named again.
        name: of the embedding.
    """
    if neighbours.rows.shape[1] < NEIGHBOURS:
        return []
    nearest, tenth = neighbours.distances[:, 0], neighbours.distances[:, NEIGHBOURS - 1]
    rows = np.flatnonzero(nearest < RATIO * tenth)
    joined = [tuple(sorted((int(row), int(neighbours.rows[row, 0])))) for row in rows]
    fresh = [
        (one, two)
        for one, two in dict.fromkeys(joined)
        if alike[one] != alike[two] and seen.pixels[one] != seen.pixels[two]
    ]
    groups = clusters_of(np.array(fresh, np.int64).reshape(-1, 2), len(seen.paths))
    if not groups:
        return []
    cases = tuple(Case(tuple(seen.paths[row] for row in group), labels_of(seen, group)) for group in groups)
    what = f"{counted(len(groups), 'cluster')} of images unusually close in the embedding ({name})"
    return [Finding("embedding_duplicates", "note", what, "look at them: they may be the same thing seen twice", cases)]
