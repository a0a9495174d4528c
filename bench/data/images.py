"""The image store: every image decoded once, as bytes in a memory-mapped array, beside what is known of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class ImageStore:
    """N decoded images.

    Attributes:
        folder: where the files lie.
        images: uint8 [N, H, W, C], memory-mapped, read-only.
        labels: int64 [N]; -1 = unlabelled.
        groups: int64 [N]; images with one number stay on one side of a split.
        contents: int64 [N]; number of the first image with the same pixels.
        moments: int64 [N, 2, C]; sum and sum of squares of each channel of each image.
        masks: uint8 [N, H, W], memory-mapped: class of each pixel, 255 = ignore; None where the set has no masks.
        boxes: int64 [N, 4]: scene, top, left and side of each chip; None where images are whole.
        histograms: int64 [N, K], pixels of each class in each mask; None without masks.
        official: int8 [N], codes of `bench.data.raw`; None where the set has no official split.
        class_names: in the order of the labels.
        fingerprint: content digest of images, labels and class names.
        skipped: files left out, each with the reason.
        notes: how the images were read, where that needs to be said.
    """

    folder: Path
    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    contents: np.ndarray
    moments: np.ndarray
    official: np.ndarray | None
    class_names: tuple[str, ...]
    fingerprint: str
    skipped: tuple[tuple[str, str], ...]
    masks: np.ndarray | None = None
    boxes: np.ndarray | None = None
    histograms: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, folder: Path) -> ImageStore:
        """Opens a complete store; the images stay on disk until they are read."""
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        return cls(
            folder=folder,
            images=np.load(folder / "images.npy", mmap_mode="r"),
            labels=np.load(folder / "labels.npy"),
            groups=np.load(folder / "groups.npy"),
            contents=np.load(folder / "contents.npy"),
            moments=np.load(folder / "moments.npy"),
            official=_optional(folder / "official.npy"),
            class_names=tuple(card["class_names"]),
            fingerprint=card["fingerprint"],
            skipped=tuple((path, reason) for path, reason in card["skipped"]),
            masks=_optional(folder / "masks.npy", mmap_mode="r"),
            boxes=_optional(folder / "boxes.npy"),
            histograms=_optional(folder / "histograms.npy"),
            notes=tuple(card.get("notes", ())),
        )

    @cached_property
    def paths(self) -> list[str]:
        """The N names of the images: file paths relative to the root, or split and number."""
        return list(json.loads((self.folder / "paths.json").read_text(encoding="utf-8")))

    def channel_statistics(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each channel over some images: float32 [C] each, in units of [0, 1].

        No pixel is read. The deviation of a constant channel is given as 1, so that it is left as it is rather than
        divided by zero.
        """
        height, width = self.images.shape[1:3]
        total, squares = self.moments[indices].sum(axis=0) / (len(indices) * height * width)
        deviation = np.sqrt(np.maximum(squares - total**2, 0)) / 255
        return (total / 255).astype(np.float32), np.where(deviation > 1e-6, deviation, 1).astype(np.float32)


def _optional(path: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray | None:
    return np.load(path, mmap_mode=mmap_mode) if path.exists() else None
