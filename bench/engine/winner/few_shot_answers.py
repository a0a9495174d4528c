"""A few-shot winner's answers on a folder of images: which of a support's classes each shows, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from bench.data.batches import to_float
from bench.data.decode import UnreadableError
from bench.data.shape import ImageShape
from bench.engine.winner.answers import Predicted, Skipped, columns, decode, none_read
from bench.engine.winner.chips import joined, put_back
from bench.engine.winner.few_shot_model import FewShotModel, Support
from bench.engine.winner.masks import mask_names, masks_folder, write_mask
from bench.engine.winner.support import Shown, read_support
from bench.engine.winner.words import calibration
from bench.errors import UserError
from bench.store.files import replacing

BACKGROUND = 0  # in the masks; the classes of the support follow
_CHIPS = 8  # of an image that are answered at a time


def predict_few_shot(
    model: FewShotModel, card: Mapping[str, Any], images: Path, paths: Sequence[str], support: Path, to: Path
) -> Predicted:
    """Writes which classes every image shows, and its mask.

    Args:
        model: as it was loaded.
        card: the part of it that is the winner's.
        images: folder of the images.
        paths: of the images, relative to the folder.
        support: folder of the new classes, as `read_support`.
        to: Parquet file: path, mask (file, relative to this one), present (names of the classes), and for each class
            its probability of presence and its share of the pixels. The masks are index PNGs of the image's size in
            the folder STEM_masks; 0 is background, 1 the first class by name.

    Raises:
        UserError: a support that cannot be read, masks that would lie among images, or no image can be read.
    """
    folder, given = masks_folder(images, to), card["input"]
    if folder.resolve().is_relative_to(support.resolve()):
        raise UserError(f"--to: masks in {str(folder)!r} would lie in the support; valid: a place outside SUPPORT")
    classes, notes = read_support(support, given, model.reads_masks)
    shown, names = [_support(model, one) for one in classes], [one.name for one in classes]
    shape = ImageShape(given["channels"], given["height"], given["width"])
    rows: list[dict[str, Any]] = []
    skipped: Skipped = []
    for path, name in zip(paths, mask_names(paths), strict=True):
        asked = _Asked(model, shown)
        try:
            picture = decode(images / path, given, None)
            sums, chips = joined(picture, shape, given["cut"], len(names), asked)
        except UnreadableError as error:
            skipped.append((path, str(error)))
            continue
        mask = put_back(called(sums / chips, model.thresholds.mask), picture)
        write_mask(mask, folder / name)
        rows.append({"path": path, "mask": f"{folder.name}/{name}", **_told(model, names, asked.presence, mask)})
    if not rows:
        raise none_read(images, skipped)
    with replacing(to) as temporary:
        pl.DataFrame(rows, schema_overrides={"present": pl.List(pl.String)}).write_parquet(temporary)
    return Predicted(len(rows), tuple(skipped), calibration(card), folder, notes)


def called(chances: np.ndarray, limit: float) -> np.ndarray:
    """The class of each pixel, uint8 [H, W] of [W, H, W]: 1 the first; background where none reaches the threshold."""
    found = chances.argmax(0) + 1
    return np.where(chances.max(0) < np.float32(limit), BACKGROUND, found).astype(np.uint8)


def _told(model: FewShotModel, names: Sequence[str], presence: np.ndarray, mask: np.ndarray) -> dict[str, Any]:
    shares = np.bincount(mask.ravel(), minlength=len(names) + 1)[1:] / mask.size
    present = [name for name, chance in zip(names, presence, strict=True) if chance > model.thresholds.presence]
    return {
        "present": present,
        **dict(zip(columns(names), presence.tolist(), strict=True)),
        **dict(zip(columns(names, "share"), shares.tolist(), strict=True)),
    }


@torch.inference_mode()
def _support(model: FewShotModel, shown: Shown) -> Support:
    masks = None if shown.masks is None else torch.from_numpy(shown.masks)
    return model.support(model.tokens(to_float(shown.images)), masks)


class _Asked:
    """Answers chips of one image; the likeliest of its chips says whether it shows a class.

    Attributes:
        presence: of each class, calibrated, float64 [W].
    """

    def __init__(self, model: FewShotModel, classes: Sequence[Support]) -> None:
        self.model, self.classes = model, classes
        self.presence = np.zeros(len(classes))

    @torch.inference_mode()
    def __call__(self, chips: np.ndarray) -> np.ndarray:
        """Probabilities of each class, float32 [n, W, H, W]."""
        return np.concatenate([self._few(part) for part in np.split(chips, range(_CHIPS, len(chips), _CHIPS))])

    def _few(self, chips: np.ndarray) -> np.ndarray:
        query = self.model.tokens(to_float(chips)).blocks[:, :, 1:]
        found = [self.model.answers(query, support) for support in self.classes]
        presence = torch.stack([self.model.calibrated(chance.double()) for chance, _ in found], 1)
        self.presence = np.maximum(self.presence, presence.amax(0).numpy())
        maps: np.ndarray = torch.stack([maps for _, maps in found], 1).numpy()
        return maps
