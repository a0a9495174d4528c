"""Copies: images that are the same file, the same pixels or show the same, with one label or with several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.data.audit.alike import Alike
from bench.data.audit.clusters import groups_of
from bench.data.audit.findings import Case, Finding, counted
from bench.data.audit.survey import Survey

_KEPT = "bench keeps copies on one side of a split; remove all but one where counts matter"
_CONFLICT = "decide which label is right, and correct or remove the others: no model can learn both"


def exact_copies(seen: Survey) -> list[Finding]:
    """Files that are identical byte for byte, and images whose decoded pixels are though their files differ."""
    same_file = groups_of(seen.files)
    same_pixels = [rows for rows in groups_of(seen.pixels) if len(set(seen.files[rows].tolist())) > 1]
    what = "byte-identical files" if seen.as_files else "identical images"
    found = _plain(seen, same_file, "identical_files", what)
    found += _plain(seen, same_pixels, "identical_pixels", "files that differ but decode to the same pixels")
    conflicts = _conflicting(seen, groups_of(seen.pixels))
    if conflicts:
        where = _sizes([rows for rows, _ in conflicts])
        found.append(
            Finding(
                "conflicting_labels",
                "error",
                f"{where} of identical images {_carry(conflicts)} more than one label",
                _CONFLICT,
                tuple(case for _, case in conflicts),
            )
        )
    return found


def near_copies(seen: Survey, alike: Alike) -> list[Finding]:
    """Images that show the same by perceptual hash, identical ones excepted."""
    what = "images that show the same (perceptual hash)"
    found = _plain(seen, alike.near, "near_duplicates", what, alike.advice, alike.fates)
    conflicts = _conflicting(seen, alike.near)
    if conflicts:
        found.append(
            Finding(
                "conflicting_near_duplicates",
                "warning",
                f"{_sizes([rows for rows, _ in conflicts])} of nearly identical images {_carry(conflicts)} more than "
                "one label",
                "look at them: either a label is wrong, or the difference is finer than the picture shows",
                tuple(case for _, case in conflicts),
            )
        )
    return found


def _plain(
    seen: Survey,
    groups: Sequence[np.ndarray],
    kind: str,
    what: str,
    advice: str = _KEPT,
    fates: Sequence[str] = (),
) -> list[Finding]:
    if not groups:
        return []
    cases = tuple(
        Case(tuple(seen.paths[row] for row in rows), "; ".join(filter(None, (labels_of(seen, rows), fate))))
        for rows, fate in zip(groups, fates or ("",) * len(groups), strict=True)
    )
    return [Finding(kind, "warning", f"{_sizes(groups)} of {what}", advice, cases)]


def _conflicting(seen: Survey, groups: Sequence[np.ndarray]) -> list[tuple[np.ndarray, Case]]:
    """The groups whose labelled images do not all have one label."""
    found = []
    for rows in groups:
        labelled = rows[seen.labels[rows] >= 0]
        if len(np.unique(seen.labels[labelled])) > 1:
            found.append((labelled, Case(tuple(seen.paths[row] for row in labelled), labels_of(seen, labelled))))
    return found


def labels_of(seen: Survey, rows: np.ndarray) -> str:
    """The labels of some images in words: "Cell, Diode"."""
    return ", ".join(dict.fromkeys(seen.label_name(int(row)) for row in rows))


def _sizes(groups: Sequence[np.ndarray]) -> str:
    """How many pairs and larger groups: "22 pairs and 1 larger group (5 images)"."""
    larger = [rows for rows in groups if len(rows) > 2]
    pairs = counted(len(groups) - len(larger), "pair")
    if not larger:
        return pairs
    images = sum(len(rows) for rows in larger)
    return f"{pairs} and {counted(len(larger), 'larger group')} ({images:,} images)"


def _carry(conflicts: Sequence[object]) -> str:
    return "carries" if len(conflicts) == 1 else "carry"
