"""A winner's folder read again: its card checked, its files put together, nothing unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field, ValidationError, model_validator

from bench.engine.winner.few_shot_model import FewShotModel, Settings, load_few_shot
from bench.engine.winner.heads import load_head
from bench.engine.winner.model import FORMAT, WinnerModel
from bench.engine.winner.segmenter import SegmentationModel, load_segmenter
from bench.errors import UserError
from bench.methods.encoder import CARD, load_encoder
from bench.protocols.few_shot_training import Thresholds
from bench.store.files import read_json

Winner = WinnerModel | SegmentationModel | FewShotModel


class _Cut(BaseModel):
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    overlap: int = Field(ge=0)

    @model_validator(mode="after")
    def _fits(self) -> _Cut:
        if self.overlap >= min(self.height, self.width):
            raise ValueError(f"an overlap of {self.overlap} between chips of {self.height} x {self.width}")
        return self


class _Input(BaseModel):
    channels: int = Field(ge=1)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    side: int | None
    value_range: tuple[float, float] | None
    cut: _Cut | None = None


class _Calibration(BaseModel):
    n_labels: int
    ece: float
    ece_before: float


class _Row(BaseModel):
    n_test: int


class _Thresholds(BaseModel):
    presence: float = Field(gt=0, lt=1)
    mask: float = Field(gt=0, lt=1)


class _Card(BaseModel):
    """What the loading of a winner reads of its card; the rest is for people."""

    task: Literal["classification", "segmentation", "few_shot"] = "classification"
    layer: str
    head: dict[str, Any]
    classes: list[str] = Field(min_length=1, max_length=1_000_000)
    input: _Input
    temperature: float = Field(gt=0, allow_inf_nan=False)
    calibration: _Calibration
    row: _Row
    thresholds: _Thresholds | None = None


def load_winner(folder: Path) -> tuple[Winner, Mapping[str, Any]]:
    """The network in a winner's folder, on the CPU, and the part of its card that is the winner's.

    Raises:
        UserError: the folder holds no winner, one of a newer format, or files that are damaged or do not fit.
    """
    winner = _read_card(folder)
    encoder = load_encoder(folder)
    try:
        return _checked(_model(folder, encoder, winner), winner), winner
    except Exception as error:  # what damaged files make a loader or a network say has as many types as it has words
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"WINNER: the files in {str(folder)!r} do not fit together ({said}); take it home again"
        ) from error


def _read_card(folder: Path) -> dict[str, Any]:
    card = read_json(folder / CARD)
    winner = card.get("winner") if isinstance(card, dict) else None
    if not isinstance(winner, dict):
        raise UserError(
            f"WINNER: {str(folder)!r} holds no winner; valid: a folder made by `bench weights best --to DIR`"
        )
    written = winner.get("format")
    if isinstance(written, int) and written > FORMAT:
        raise UserError(f"WINNER: {str(folder)!r} is of format {written}; this version reads {FORMAT}")
    try:
        _Card.model_validate(winner)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("winner", *first["loc"]))
        raise UserError(
            f"WINNER: {CARD} in {str(folder)!r} is damaged: {place}: {first['msg'].lower()}; take it home again"
        ) from None
    return winner


def _model(folder: Path, encoder: Any, winner: Mapping[str, Any]) -> Winner:
    settings, temperature = winner["head"], winner["temperature"]
    if winner.get("task") == "segmentation":
        network = load_segmenter(encoder, settings, len(winner["classes"]), folder)
        return SegmentationModel(network, temperature).eval()
    if winner.get("task") == "few_shot":
        found = load_few_shot(encoder, Settings.read(settings), folder)
        found.thresholds, found.temperature = Thresholds(**winner["thresholds"]), temperature
        return found
    return WinnerModel(encoder, winner["layer"], load_head(settings, folder), temperature).eval()


@torch.inference_mode()
def _checked(model: Winner, winner: Mapping[str, Any]) -> Winner:
    """The model, once it answered an image of the shape and in the classes that the card names."""
    given, classes = winner["input"], len(winner["classes"])
    blank = torch.zeros(1, given["channels"], given["height"], given["width"])
    if isinstance(model, FewShotModel):  # its classes are those of a support
        model(blank, blank[None], torch.ones(1, 1, given["height"], given["width"], dtype=torch.bool))
        return model
    found = model(blank)
    if found.shape[1] != classes:
        raise ValueError(f"{found.shape[1]} classes where the card names {classes}")
    return model
