"""Leaks: the same image on both sides of a given split, or in two of the given groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.data.audit.alike import Alike
from bench.data.audit.clusters import groups_of
from bench.data.audit.findings import Case, Finding, Severity
from bench.data.audit.survey import Survey
from bench.data.raw import TEST, TRAIN, VALIDATION

_SPLITS = {TRAIN: "train", VALIDATION: "validation", TEST: "test"}


def leaks(seen: Survey, alike: Alike) -> list[Finding]:
    """Copies that lie in several of the splits, or of the groups, that the data set gives.

    Args:
        seen: what the survey found.
        alike: images that show the same.
    """
    exact = groups_of(seen.pixels)
    found: list[Finding] = []
    if seen.official is not None:
        of_split = _namer(seen.official, lambda code: _SPLITS[code])
        advice = "remove them from one of the splits; bench drops a training image whose pixels are held out"
        found += _crossing(seen, exact, of_split, "split_leak", "error", "identical images in several splits", advice)
        what = "nearly identical images in several splits"
        advice = "remove them from one of the splits: a score on them measures memory"
        found += _crossing(seen, alike.near, of_split, "near_split_leak", "warning", what, advice)
    if seen.groups is not None:
        of_group = _namer(seen.groups, lambda number: f"group {number}")
        advice = "groups that share images are one group; bench joins groups that share identical images"
        found += _crossing(seen, exact, of_group, "group_leak", "warning", "identical images in several groups", advice)
        what = "nearly identical images in several groups"
        advice = (
            "groups that share images are one group; with data.duplicates=near bench joins them, if few hang together"
        )
        found += _crossing(seen, alike.near, of_group, "near_group_leak", "warning", what, advice)
    return found


def _namer(codes: np.ndarray, name: Callable[[int], str]) -> Callable[[int], str]:
    return lambda row: name(int(codes[row]))


def _crossing(
    seen: Survey,
    clusters: Sequence[np.ndarray],
    side: Callable[[int], str],
    kind: str,
    severity: Severity,
    what: str,
    advice: str,
) -> list[Finding]:
    cases = []
    for rows in clusters:
        sides = list(dict.fromkeys(side(int(row)) for row in rows))
        if len(sides) > 1:
            cases.append(Case(tuple(seen.paths[row] for row in rows), ", ".join(sides)))
    if not cases:
        return []
    return [
        Finding(
            kind,
            severity,
            f"{len(cases):,} {'cluster' if len(cases) == 1 else 'clusters'} of {what}",
            advice,
            tuple(cases),
        )
    ]
