"""Classifiers taken home: their quality, whether they answer as their row, their files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from bench.data.catalog import Dataset
from bench.engine.winner.calibration import calibration_error, fit_temperature
from bench.engine.winner.candidate import Candidate, Home, Task, write_encoder
from bench.engine.winner.card import input_of
from bench.engine.winner.heads import save_head
from bench.engine.winner.model import WinnerModel, logits_of
from bench.engine.winner.program import write_onnx, write_program
from bench.engine.winner.refit import REFITS, Refit
from bench.protocols.base import Evaluation, Score
from bench.protocols.metrics import measure

CHECKED = 256  # images on which ONNX is compared with PyTorch


def tasks() -> dict[str, Task[Refit]]:
    """Classification by every protocol whose heads can be fitted once more."""
    return {
        protocol: Task("classification", _again(refit), quality, mismatch, write) for protocol, refit in REFITS.items()
    }


def _again(refit: Callable[[Evaluation], Refit]) -> Callable[[Evaluation], tuple[Refit, Score]]:
    def again(evaluation: Evaluation) -> tuple[Refit, Score]:
        made = refit(evaluation)
        return made, made.score

    return again


def validation_of(dataset: Dataset) -> np.ndarray:
    """Indices of the labelled validation images."""
    held: np.ndarray = dataset.splits.validation[dataset.splits.labels[dataset.splits.validation] >= 0]
    return held


@torch.inference_mode()
def quality(evaluation: Evaluation, refit: Refit, metric: str) -> float:
    """A metric on the labelled validation images; nan without such."""
    held = validation_of(evaluation.dataset)
    if not len(held):
        return math.nan
    if refit.encoder is None:
        features = torch.from_numpy(np.array(evaluation.features.layer(evaluation.cells[0].layer)[held]))
        logits = refit.head(features)
    else:
        logits = logits_of(WinnerModel(refit.encoder, "last", refit.head), evaluation.dataset.images.images, held)
    shares = torch.softmax(logits.double(), 1).numpy()
    return float(measure(shares[None], evaluation.dataset.splits.labels[held]).metrics[metric][0])


def mismatch(row: Mapping[str, Any], score: Score) -> str | None:
    """How many test images are answered otherwise than the row says; None where none is."""
    if score.correct == row["correct"]:
        return None
    differing = int((answers(score.correct or b"", row["n_test"]) != answers(row["correct"], row["n_test"])).sum())
    return (
        f"the head fitted again answers {differing} of {row['n_test']} test images otherwise than row "
        f"{row['row_key']} says (accuracy {score.metrics['accuracy']:.4f}, there {row['accuracy']:.4f})"
    )


def write(home: Home, chosen: Candidate[Refit]) -> dict[str, Any]:
    """Encoder, head and program; returns what the card says of them."""
    folder, dataset, head = home.folder, home.dataset, chosen.refit.head
    model = WinnerModel(write_encoder(folder, chosen.folder, chosen.refit.encoder), chosen.row["layer"], head).eval()
    calibration, exported = _calibrate(model, dataset, chosen.row)
    save_head(head, folder)
    untraced = write_program(model, folder)
    images = dataset.images.images[dataset.splits.test[:CHECKED]]
    return {
        "head": head.settings(),
        "classes": list(dataset.splits.class_names),
        "input": input_of(dataset, home.spec),
        "temperature": model.temperature,
        "calibration": calibration,
        "exported": exported,
        "program": untraced or "ok",
        "onnx": write_onnx(model, folder, images) if home.onnx else None,
    }


def _calibrate(model: WinnerModel, dataset: Dataset, row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sets the model's temperature on the validation labels; what that did, and how the network as written scores."""
    splits, images, held = dataset.splits, dataset.images.images, validation_of(dataset)
    labels, known = (torch.from_numpy(splits.labels[part]) for part in (splits.test, held))
    test = logits_of(model, images, splits.test)
    before = calibration_error(test, labels)
    if len(held):
        model.temperature = fit_temperature(logits_of(model, images, held), known)
    after = calibration_error(test.double() / model.temperature, labels)
    calibration = {"labels": "validation split", "n_labels": len(held), "n_test": len(labels), "n_images": len(held)}
    right = (test.argmax(1) == labels).numpy()
    differing = int((right != answers(row["correct"], len(right))).sum())
    return calibration | {"ece": after, "ece_before": before}, {"accuracy": float(right.mean()), "differing": differing}


def answers(bitmap: bytes, count: int) -> np.ndarray:
    """Which test items were right, bool [count]."""
    return np.unpackbits(np.frombuffer(bitmap, np.uint8), count=count).astype(bool)
