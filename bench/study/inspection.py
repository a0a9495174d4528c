"""What is known of somebody's images before any is decoded, and the machine they are to be studied on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_NAMED = 3  # classes or sizes named in one line

LABELLED_BY = {
    "folder": "sub-folders",
    "table": "a table",
    "coco": "COCO annotations",
    "shards": "WebDataset shards",
    "hub": "a Hugging Face data set",
}


@dataclass(frozen=True)
class Inspection:
    """Counts of everything, sizes of a sample.

    Attributes:
        kind: data set of the catalog that reads the images.
        root: where they are, absolute, as `data.root` has it; None where the set comes without.
        labelled: labelled images of each class, in the order of the classes, those of official splits apart.
        unlabelled: images for pretraining only.
        validation: images of an official validation split.
        test: images of an official test split.
        shorter: the shorter side, in pixels, of a typical small image: the tenth percentile of the sample.
        pixels: mean pixels of an image of the sample.
        size: width and height where all of the sample share them, else None.
        sizes: smallest and largest shorter side of the sample.
        channels: channels of the sample, the most that occurs.
        bits: bits a value, the most that occurs.
        unreadable: images of the sample that could not be read, each with the reason.
        sampled: images looked at.
        notes: what the reader has to say.
    """

    kind: str
    root: str | None
    labelled: Mapping[str, int]
    unlabelled: int
    validation: int
    test: int
    shorter: int
    pixels: float
    size: tuple[int, int] | None
    sizes: tuple[int, int]
    channels: int
    bits: int
    unreadable: tuple[tuple[str, str], ...]
    sampled: int
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """Images of all splits."""
        return sum(self.labelled.values()) + self.unlabelled + self.validation + self.test

    def describe(self) -> str:
        """One line: how many images, of what, labelled how."""
        how = LABELLED_BY.get(self.kind, f"recognised as {self.kind}")
        parts = [f"{self.images:,} images, {len(self.labelled)} classes ({how}), {self._shape()}"]
        if self.test:
            parts.append(f"{self.test:,} of them to test on")
        if self.unlabelled:
            parts.append(f"{self.unlabelled:,} without a label, for pretraining only")
        return ", ".join(parts)

    def _shape(self) -> str:
        low, high = self.sizes
        size = f"{self.size[0]} x {self.size[1]}" if self.size else f"{low} to {high} pixels on the shorter side"
        kind = {1: " grey", 3: " RGB"}.get(self.channels, f", {self.channels} bands")
        return f"{size}{kind}" + (f", {self.bits} bits" if self.bits > 8 else "")


@dataclass(frozen=True)
class Machine:
    """Cores and GPUs at hand."""

    cores: int
    gpus: int

    @classmethod
    def here(cls) -> Machine:
        """This machine, as far as this process may use it."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        found = [path for path in Path("/dev").glob("nvidia*") if path.name.removeprefix("nvidia").isdigit()]
        gpus = len(found) if visible is None else len([one for one in visible.split(",") if one.strip()])
        return cls(cores, min(gpus, len(found)))

    def describe(self) -> str:
        """One phrase."""
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return f"{cores}, {self.gpus or 'no'} GPU{'s' if self.gpus > 1 else ''}"


def name_some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
