"""A winner's answers on a folder of images, as one Parquet file; of pixels, masks beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from bench.data.decode import UnreadableError
from bench.engine.winner.answers import Predicted, Skipped, columns, decode, listed, none_read, wrong_shape
from bench.engine.winner.few_shot_answers import predict_few_shot
from bench.engine.winner.few_shot_model import FewShotModel
from bench.engine.winner.loading import load_winner
from bench.engine.winner.masks import predict_masks
from bench.engine.winner.model import WinnerModel, logits_of
from bench.engine.winner.words import calibration
from bench.errors import UserError
from bench.store.files import replacing

_BATCH = 256


def predict(winner: Path, images: Path, to: Path, support: Path | None = None) -> Predicted:
    """Reads every image under a folder, as the images of the winner's data set were read, and writes the answers.

    Args:
        winner: folder that `bench weights best --to DIR` made.
        images: folder, searched recursively; links out of it are refused.
        to: Parquet file. Of a classifier: path (relative, sorted), label (name of the likeliest class), and a
            probability of each class. Of a segmentation network: see `bench.engine.winner.masks`; of a few-shot one
            `bench.engine.winner.few_shot_answers`.
        support: folder of the classes that a few-shot winner is asked about; see `bench.engine.winner.support`.

    Raises:
        UserError: no winner, no folder, no image in it, or none that can be read; a support where none is read, or none
            where one is.
    """
    model, card = load_winner(winner)
    if not isinstance(model, FewShotModel) and support is not None:
        raise UserError(f"--support: {str(support)!r} is not read: this winner knows its classes; leave it out")
    if isinstance(model, FewShotModel) and support is None:
        raise UserError("--support: a few-shot winner is shown its classes; give a folder with images of each of them")
    paths = listed(images)
    if isinstance(model, FewShotModel) and support is not None:
        return predict_few_shot(model, card, images, paths, support, to)
    if not isinstance(model, WinnerModel):
        return predict_masks(model, card, images, paths, to)
    parts, skipped = [], []
    for start in range(0, len(paths), _BATCH):
        kept, pixels, unread = _read(images, paths[start : start + _BATCH], card["input"])
        skipped += unread
        if kept:
            shares = torch.softmax(logits_of(model, pixels, np.arange(len(pixels))).double(), 1).numpy()
            parts.append(_table(kept, shares, card["classes"]))
    if not parts:
        raise none_read(images, skipped)
    table = pl.concat(parts)
    with replacing(to) as temporary:
        table.write_parquet(temporary)
    return Predicted(len(table), tuple(skipped), calibration(card))


def _table(paths: Sequence[str], shares: np.ndarray, classes: Sequence[str]) -> pl.DataFrame:
    labels = [classes[index] for index in shares.argmax(1)]
    shown = {name: shares[:, index] for index, name in enumerate(columns(classes))}
    return pl.DataFrame({"path": list(paths), "label": labels, **shown})


def _read(root: Path, paths: Sequence[str], given: Mapping[str, Any]) -> tuple[list[str], np.ndarray, Skipped]:
    """The images that can be read, uint8 [n, H, W, C] with their paths, and the others with the reason."""
    kept, pixels, skipped = [], [], []
    for path in paths:
        try:
            pixels.append(_decode(root / path, given))
            kept.append(path)
        except UnreadableError as error:
            skipped.append((path, str(error)))
    return kept, np.stack(pixels) if pixels else np.empty(0, np.uint8), skipped


def _decode(path: Path, given: Mapping[str, Any]) -> np.ndarray:
    """One image in the shape that the network reads.

    Raises:
        UnreadableError: as `decode_file`; or of another shape, where the network's is no square to be fitted to.
    """
    pixels = decode(path, given, given["side"])
    if pixels.shape[:2] != (given["height"], given["width"]):
        raise wrong_shape(pixels, given)
    return pixels
