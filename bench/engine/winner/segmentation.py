"""Segmentation networks taken home: trained once more, compared with their row, calibrated by pixels, written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from bench.data.batches import to_float
from bench.data.catalog import Dataset
from bench.data.raw import IGNORE
from bench.engine.winner.calibration import calibration_error, fit_temperature
from bench.engine.winner.candidate import Candidate, Home, Task, write_encoder
from bench.engine.winner.card import input_of
from bench.engine.winner.chips import cut_of
from bench.engine.winner.program import write_onnx, write_program
from bench.engine.winner.segmenter import SegmentationModel, decoder_settings, load_segmenter, save_decoder
from bench.protocols.base import Cell, Evaluation, Score
from bench.protocols.decoders import Segmenter
from bench.protocols.dense_metrics import DenseCounts
from bench.protocols.dense_scoring import batches, masks_of, score_maps
from bench.protocols.segmentation import DenseTrainer
from bench.seeds import named_seed
from bench.study.protocols import SegmentationOptions

NAME = "segmentation"
PIXELS = 2**18  # on which a temperature is fitted, and of the test images those on which it is judged
CHECKED = 2**20  # pixels on which ONNX is compared with PyTorch, whole images of them


class Retrained(NamedTuple):
    """A network trained once more, and what it was trained by."""

    network: Segmenter
    trainer: DenseTrainer


class _Keeping(DenseTrainer):
    """Keeps what it trained last: what `score` reads the test split with, after the selection."""

    trained: Segmenter

    def train(self, cell: Cell, indices: np.ndarray, lr: float) -> Segmenter:
        self.trained = super().train(cell, indices, lr)
        return self.trained


def again(evaluation: Evaluation) -> tuple[Retrained, Score]:
    """The network of the one cell asked for, trained once more on the masks of its budget."""
    options = cast(SegmentationOptions, evaluation.options)
    trainer = _Keeping(evaluation.dataset, evaluation.encoder(), options, evaluation.seed, evaluation.device)
    score = trainer.score(evaluation.cells[0])
    return Retrained(trainer.trained.requires_grad_(False), trainer), score


def quality(evaluation: Evaluation, made: Retrained, metric: str) -> float:
    """A metric over every pixel of the validation images; nan where none counts."""
    counts = made.trainer.counts(made.network, evaluation.dataset.splits.validation)
    return counts.metrics()[metric] if counts.confusion.any() else math.nan


def mismatch(row: Mapping[str, Any], score: Score) -> str | None:
    """How the confusion matrix, and the metrics without each test image in turn, differ from the row's; None: not."""
    kept, found = json.loads(row["details"]), json.loads(json.dumps(dict(score.extra)))
    known = [name for name in ("confusion", "item_jackknife") if name in kept]
    if all(found.get(name) == kept[name] for name in known):
        return None
    differing, total = _differing(np.array(found["confusion"]), np.array(kept["confusion"]))
    return (
        f"the network trained again answers at least {max(1, differing)} of {total} test pixels otherwise than row "
        f"{row['row_key']} says (mIoU {score.metrics['miou']:.4f}, there {row['miou']:.4f})"
    )


def write(home: Home, chosen: Candidate[Retrained]) -> dict[str, Any]:
    """Encoder, decoder and program; returns what the card says of them."""
    folder, dataset = home.folder, home.dataset
    (network, trainer), splits = chosen.refit, dataset.splits
    network, names = network.cpu(), trainer.class_names
    settings = decoder_settings(trainer.options.decoder, trainer.options.width, network)
    encoder = write_encoder(folder, chosen.folder, None if trainer.recipe.frozen else network.encoder)
    save_decoder(network, folder)
    model = SegmentationModel(load_segmenter(encoder, settings, len(names), folder)).eval()
    calibration = _calibrate(model, dataset, trainer.table)
    counts = counted(model, dataset, splits.test, trainer.table, len(names))
    kept = json.loads(chosen.row["details"])
    height, width = dataset.shape[1:]
    images = dataset.images.images[splits.test[: max(1, CHECKED // (height * width))]]
    untraced = write_program(model, folder)
    return {
        "head": settings,
        "classes": list(names),
        "input": input_of(dataset, home.spec) | {"cut": cut_of(dataset, home.spec)},
        "temperature": model.temperature,
        "calibration": calibration,
        "exported": {
            "miou": counts.metrics()["miou"],
            "differing": _differing(counts.confusion, np.array(kept["confusion"]))[0],
        },
        "class_iou": kept["class_iou"],
        "program": untraced or "ok",
        "onnx": write_onnx(model, folder, images) if home.onnx else None,
    }


TASK = Task(NAME, again, quality, mismatch, write)


def counted(
    model: SegmentationModel, dataset: Dataset, indices: np.ndarray, table: np.ndarray, n_classes: int
) -> DenseCounts:
    """Counts of the network as written over every pixel of some images, calibrated probabilities and all."""

    @torch.inference_mode()
    def predict(batch: np.ndarray) -> np.ndarray:
        return torch.softmax(model(to_float(dataset.images.images[batch])), 1).numpy()

    return score_maps(predict, dataset.images, indices, table, n_classes)


def _calibrate(model: SegmentationModel, dataset: Dataset, table: np.ndarray) -> dict[str, Any]:
    """Sets the model's temperature on pixels of the validation images; what that did to pixels of the test images."""
    splits = dataset.splits
    logits, labels = _pixels(model, dataset, splits.test, table)
    before = calibration_error(logits, labels)
    known = _pixels(model, dataset, splits.validation, table)
    model.temperature = fit_temperature(*known)
    after = calibration_error(logits.double() / model.temperature, labels)
    counts = {"n_labels": len(known[1]), "n_test": len(labels), "n_images": len(splits.validation)}
    return {"labels": "validation split", **counts, "ece": after, "ece_before": before}


@torch.inference_mode()
def _pixels(
    model: SegmentationModel, dataset: Dataset, indices: np.ndarray, table: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Logits [P, K] and classes int64 [P] of pixels that count, as many of each image; PIXELS at most."""
    masks, (height, width) = masks_of(dataset.images), dataset.shape[1:]
    each = min(height * width, max(1, PIXELS // max(1, len(indices))))
    numbers = np.random.default_rng(named_seed(dataset.splits.digest, "pixels"))
    logits, labels = [], []
    for batch in batches(indices):
        found = model(to_float(dataset.images.images[batch])).flatten(2).transpose(1, 2)
        truth = torch.from_numpy(table[masks[batch]]).flatten(1).long()
        chosen = torch.from_numpy(np.stack([numbers.permutation(height * width)[:each] for _ in batch]))
        seen = truth.gather(1, chosen)
        counts = seen != IGNORE
        logits.append(found.gather(1, chosen[:, :, None].expand(-1, -1, found.shape[2]))[counts])
        labels.append(seen[counts])
    return torch.cat(logits or [torch.zeros(0, 1)]), torch.cat(labels or [torch.zeros(0, dtype=torch.int64)])


def _differing(found: np.ndarray, kept: np.ndarray) -> tuple[int, int]:
    """The least number of pixels that are answered otherwise where two confusion matrices differ; and of all."""
    return int(np.abs(found - kept).sum() // 2), int(kept.sum())
