"""Sequences: files with running numbers whose neighbours are far more alike than chance, as frames of a video are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from bench.data.audit.findings import Case, Finding, counted
from bench.data.audit.survey import Survey
from bench.seeds import named_seed

_NUMBERED = re.compile(r"(.*?)(\d+)\D*")  # the last number of a name counts
_SAMPLE = 2000  # random pairs of a series that say how alike its images are anyhow
_QUANTILE = 0.01  # a neighbour closer than this share of random pairs is close
_SHARE = 0.2  # of close neighbours from which a series is a sequence; one in a hundred would be chance
_LEAST = 10  # images of a series
_RUN = 3  # images of a run; two close ones may be chance
_STEP = 5  # largest difference of two running numbers that still are neighbours


def sequences(seen: Survey, points: np.ndarray) -> list[Finding]:
    """Runs of consecutive images that are closer to each other than chance, in series where that is no chance.

    A series are images of one folder, one name but for its number, and one label. It is a sequence when many of its
    neighbours by number are closer than all but 1 % of its random pairs.

    Args:
        seen: what the survey found.
        points: float32 [N, D], an embedding.
    """
    cases = []
    for rows in _series(seen):
        near = _close_neighbours(rows, points)
        if near.mean() >= _SHARE:
            cases += [Case(tuple(seen.paths[row] for row in run)) for run in _runs(rows, near)]
    if not cases:
        return []
    images = sum(len(case.files) for case in cases)
    cases.sort(key=lambda case: -len(case.files))
    runs = f"{counted(len(cases), 'run')} of consecutive files ({images:,} images)"
    what = f"{runs} far more alike than chance, as frames of a video are"
    advice = "give the images of a run one group, so that a split does not part them"
    return [Finding("sequence", "warning", what, advice, tuple(cases))]


def _series(seen: Survey) -> Iterator[np.ndarray]:
    """Rows of each series, in the order of their numbers; gaps larger than a few numbers part it."""
    series: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for row, path in enumerate(seen.paths):
        folder, _, name = path.rpartition("/")
        match = _NUMBERED.fullmatch(name.rsplit(".", 1)[0])
        if match:
            key = (f"{folder}/{match[1]}", int(seen.labels[row]))
            series.setdefault(key, []).append((int(match[2]), row))
    for members in series.values():
        members.sort()
        steps = np.diff([number for number, _ in members])
        for part in np.split(np.array([row for _, row in members]), np.flatnonzero(steps > _STEP) + 1):
            if len(part) >= _LEAST:
                yield part


def _close_neighbours(rows: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Which neighbours of a series are closer than nearly all of its random pairs: bool [n - 1]."""
    generator = np.random.default_rng(named_seed("audit sequences", len(rows)))
    one, two = generator.integers(0, len(rows), (2, _SAMPLE))
    apart = np.abs(one - two) > 1
    chance = np.linalg.norm(points[rows[one[apart]]] - points[rows[two[apart]]], axis=1)
    following = np.linalg.norm(points[rows[1:]] - points[rows[:-1]], axis=1)
    return np.asarray(following < np.quantile(chance, _QUANTILE))


def _runs(rows: np.ndarray, near: np.ndarray) -> Iterator[np.ndarray]:
    """The longest stretches in which every neighbour is close, of a few images or more."""
    for part in np.split(np.arange(len(rows)), np.flatnonzero(~near) + 1):
        if len(part) >= _RUN:
            yield rows[part]
