"""What a set of images is: counts, sizes, channels, balance; and the files that cannot be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.data.audit.findings import Case, Finding, counted
from bench.data.audit.survey import Survey
from bench.data.raw import TEST, TRAIN, VALIDATION

_IMBALANCED = 3.0  # ratio of the largest to the smallest class that is worth a note
_LARGELY = 10.0  # from where it is a warning
_FEW = 10  # images of a class from which a held-out share can be cut


@dataclass(frozen=True)
class Facts:
    """Counts of a set.

    Attributes:
        images: readable ones.
        classes: images of each class, in the order of the labels.
        unlabelled: images without a label.
        sizes: how many images have this many pixels across, down, and channels; the commonest first.
        splits: images of each given split; empty where none is given.
    """

    images: int
    classes: dict[str, int]
    unlabelled: int
    sizes: tuple[tuple[tuple[int, int, int], int], ...]
    splits: dict[str, int]

    @property
    def imbalance(self) -> float | None:
        """How many times larger the largest class is than the smallest; None without two classes with images."""
        counts = [count for count in self.classes.values() if count]
        return max(counts) / min(counts) if len(counts) > 1 else None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        sizes = [
            {"width": size[0], "height": size[1], "channels": size[2], "images": count} for size, count in self.sizes
        ]
        return {
            "images": self.images,
            "classes": self.classes,
            "unlabelled": self.unlabelled,
            "imbalance": self.imbalance,
            "sizes": sizes,
            "splits": self.splits,
        }


def facts_of(seen: Survey) -> Facts:
    """Counts the images that could be read."""
    counts = np.bincount(seen.labels[seen.labels >= 0], minlength=len(seen.class_names))
    sizes = Counter((int(width), int(height), int(channels)) for height, width, channels in seen.sizes)
    official = {} if seen.official is None else {"train": TRAIN, "validation": VALIDATION, "test": TEST}
    return Facts(
        images=len(seen.paths),
        classes={} if seen.masked else dict(zip(seen.class_names, counts.tolist(), strict=True)),
        unlabelled=0 if seen.masked else int((seen.labels < 0).sum()),
        sizes=tuple(sorted(sizes.items(), key=lambda item: (-item[1], item[0]))),
        splits={name: int((seen.official == code).sum()) for name, code in official.items()},
    )


def unreadable(seen: Survey) -> list[Finding]:
    """Files that are corrupt, cut short or no images."""
    if not seen.broken:
        return []
    cases = tuple(Case((path,), reason) for path, reason in seen.broken)
    advice = "repair or remove them; data.on_error: skip leaves them out of a study, named and counted"
    return [Finding("unreadable", "error", f"{counted(len(cases), 'file')} cannot be read", advice, cases)]


def composition(seen: Survey, facts: Facts) -> list[Finding]:
    """Sizes that differ, classes that are rare, and labels that lie in pixels."""
    found: list[Finding] = []
    if seen.masked:
        what = "every pixel has a class: labels were not audited, images were"
        found.append(Finding("masks", "note", what, "look at masks with the previews of a study"))
    if len({size[:2] for size, _ in facts.sizes}) > 1:
        advice = "a study needs data.image_size: the shorter side is resized and the centre square is cut out"
        found.append(Finding("sizes", "note", f"{len(facts.sizes)} sizes of images", advice))
    if len({size[2] for size, _ in facts.sizes}) > 1:
        advice = "a study reads all as colour; data.channels: 1 reads all as grey"
        found.append(Finding("channels", "note", "grey and colour images together", advice))
    found += _imbalance(facts)
    few = [name for name, count in facts.classes.items() if count < _FEW]
    if few:
        what = f"{counted(len(few), 'class', 'classes')} with fewer than {_FEW} images: {', '.join(few)}"
        found.append(
            Finding("small_classes", "warning", what, "label more of them, or leave them out with data.classes")
        )
    return found


def _imbalance(facts: Facts) -> list[Finding]:
    ratio = facts.imbalance
    if ratio is None or ratio < _IMBALANCED:
        return []
    largest = max(facts.classes, key=lambda name: facts.classes[name])
    smallest = min((name for name, count in facts.classes.items() if count), key=lambda name: facts.classes[name])
    what = (
        f"classes are imbalanced {ratio:.0f}:1 ({largest} {facts.classes[largest]:,}, "
        f"{smallest} {facts.classes[smallest]:,})"
    )
    advice = (
        "judge by balanced accuracy; where a budget is drawn as in practice, compare the remedies (option imbalance)"
    )
    return [Finding("imbalance", "warning" if ratio >= _LARGELY else "note", what, advice)]
