"""Taking an entrant home: chosen, fitted once more, checked against its row, calibrated, written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.data.catalog import Dataset
from bench.engine.site import Site
from bench.engine.winner.calibration import calibration_error, fit_temperature
from bench.engine.winner.card import describe, write_card
from bench.engine.winner.choice import Candidate, candidates, choose, validation_of
from bench.engine.winner.heads import save_head
from bench.engine.winner.model import WinnerModel, logits_of
from bench.engine.winner.page import PAGE, write_page
from bench.engine.winner.program import CHECKED, write_onnx, write_program
from bench.engine.winner.words import summary
from bench.errors import UserError
from bench.methods.encoder import CARD, WEIGHTS, Encoder, load_encoder, save_encoder
from bench.methods.mask_codec import MASK
from bench.store.contender import Contender
from bench.store.files import read_json
from bench.store.whole import share
from bench.study.spec import DataSpec, Resources


class NotReproducedError(Exception):
    """The head that was fitted once more does not answer as its row says: nothing is written."""


def take_home(root: Path, contender: Contender, to: Path, *, onnx: bool, licence: str) -> list[str]:
    """Writes the folder of a winner.

    Args:
        root: results folder.
        contender: the entrant, with its rows at one label budget.
        to: the folder: a new or empty one, or one that holds a winner, which is replaced.
        onnx: whether `model.onnx` is written too.
        licence: of the data, as the user states it.

    Returns:
        What was chosen, why, what was checked and what was written: a line each.

    Raises:
        UserError: the folder holds other things, or the data or the encoder cannot be had.
        NotReproducedError: the head fitted once more answers otherwise than the row says.
    """
    check_folder(to)
    resources = Resources.model_validate({**contender.resources, "workers": 0})
    site = Site(root.resolve(), DataSpec.model_validate(contender.data), resources)
    tried = candidates(site, contender)
    chosen = choose(tried)
    _check_row(chosen)
    dataset = site.dataset()
    described = describe(contender, chosen, tried, dataset, site.data, licence)
    with _replacing(to) as folder:
        card = _write(folder, chosen, dataset, described, onnx)
    return [*summary(card["winner"]), f"{to}: {', '.join([*card['winner']['files'], CARD, PAGE])}"]


def _write(folder: Path, chosen: Candidate, dataset: Dataset, described: dict[str, Any], onnx: bool) -> dict[str, Any]:
    """Writes every file of a winner; returns the card."""
    encoder = _write_encoder(folder, chosen)
    model = WinnerModel(encoder, chosen.row["layer"], chosen.refit.head).eval()
    calibration, exported = _calibrate(model, dataset, chosen)
    save_head(chosen.refit.head, folder)
    untraced = write_program(model, folder)
    made = write_onnx(model, folder, dataset.images.images[dataset.splits.test[:CHECKED]]) if onnx else None
    described |= {"temperature": model.temperature, "calibration": calibration, "exported": exported}
    card = write_card(folder, described | {"program": untraced or "ok", "onnx": made})
    write_page(folder, card)
    return card


def _write_encoder(folder: Path, chosen: Candidate) -> Encoder:
    """The encoder as the store keeps it, its mask beside it where it has one; or what fine-tuning made of it."""
    if chosen.refit.encoder is not None:
        save_encoder(chosen.refit.encoder, folder)
    else:
        for name in (WEIGHTS, CARD, MASK):
            if (chosen.folder / name).is_file():
                shutil.copyfile(chosen.folder / name, folder / name)
    return load_encoder(folder)


def _calibrate(model: WinnerModel, dataset: Dataset, chosen: Candidate) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sets the model's temperature on the validation labels; what that did, and how the network as written scores."""
    splits, images, held = dataset.splits, dataset.images.images, validation_of(dataset)
    labels, known = (torch.from_numpy(splits.labels[part]) for part in (splits.test, held))
    test = logits_of(model, images, splits.test)
    before = calibration_error(test, labels)
    if len(held):
        model.temperature = fit_temperature(logits_of(model, images, held), known)
    after = calibration_error(test.double() / model.temperature, labels)
    calibration = {"labels": "validation split", "n_labels": len(held), "ece": after, "ece_before": before}
    right = (test.argmax(1) == labels).numpy()
    differing = int((right != _answers(chosen.row["correct"], len(right))).sum())
    return calibration, {"accuracy": float(right.mean()), "differing": differing}


def _check_row(chosen: Candidate) -> None:
    row, score = chosen.row, chosen.refit.score
    if score.correct == row["correct"]:
        return
    differing = int((_answers(score.correct or b"", row["n_test"]) != _answers(row["correct"], row["n_test"])).sum())
    raise NotReproducedError(
        f"the head fitted again answers {differing} of {row['n_test']} test images otherwise than row "
        f"{row['row_key']} says (accuracy {score.metrics['accuracy']:.4f}, there {row['accuracy']:.4f}): "
        "nothing was written; code, libraries or threads are others than when it was measured"
    )


def _answers(bitmap: bytes, count: int) -> np.ndarray:
    """Which test items were right, bool [count]."""
    return np.unpackbits(np.frombuffer(bitmap, np.uint8), count=count).astype(bool)


def check_folder(to: Path) -> None:
    """Raises UserError where something other than a winner lies in the folder, or it cannot be one."""
    if to.exists() and not to.is_dir():
        raise UserError(f"--to: {str(to)!r} is a file; valid: a folder")
    known = read_json(to / CARD)
    if to.is_dir() and any(to.iterdir()) and not (isinstance(known, dict) and "winner" in known):
        raise UserError(f"--to: {str(to)!r} holds other files; valid: a new folder, or one that holds a winner")


@contextmanager
def _replacing(to: Path) -> Iterator[Path]:
    """An empty folder to fill; its files take their place in `to` when all are there. Files of others there stay."""
    to.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        yield building
        before = read_json(to / CARD)
        for name in [*before["winner"]["files"], CARD, PAGE] if before else ():
            (to / Path(name).name).unlink(missing_ok=True)
        to.mkdir(exist_ok=True)
        for path in sorted(building.iterdir()):
            share(path, 0o666)
            os.replace(path, to / path.name)
    finally:
        shutil.rmtree(building, ignore_errors=True)
