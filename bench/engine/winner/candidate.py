"""What the tasks share: a seed and draw of an entrant fitted once more, and the folder it is written to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from bench.data.catalog import Dataset
from bench.methods.encoder import CARD, WEIGHTS, Encoder, load_encoder, save_encoder
from bench.methods.mask_codec import MASK
from bench.protocols.base import Evaluation, Score
from bench.study.protocols import PROTOCOLS, ProtocolOptions
from bench.study.spec import DataSpec

Made = TypeVar("Made")


@dataclass(frozen=True)
class Candidate(Generic[Made]):
    """One seed and draw of an entrant: its row, the folder of its encoder, and what was fitted or trained once more.

    Attributes:
        quality: the leaderboard's metric on the labelled validation images; nan where there are none.
    """

    row: Mapping[str, Any]
    folder: Path
    refit: Made
    score: Score
    quality: float


class Home(NamedTuple):
    """Where a winner is written: an empty folder, the images and how they were read, whether ONNX is asked for."""

    folder: Path
    dataset: Dataset
    spec: DataSpec
    onnx: bool


@dataclass(frozen=True)
class Task(Generic[Made]):
    """How the winners of one kind are taken home.

    Attributes:
        name: of the kind, as the card has it.
        again: fits once more what the one cell of an evaluation was measured on; with the score that this gives.
        quality: the leaderboard's metric on the validation images; nan where none has a label.
        mismatch: how the score differs from the row, in words; None where it does not.
        write: writes the files but the card and the page; returns what the card says of them.
    """

    name: str
    again: Callable[[Evaluation], tuple[Made, Score]]
    quality: Callable[[Evaluation, Made, str], float]
    mismatch: Callable[[Mapping[str, Any], Score], str | None]
    write: Callable[[Home, Candidate[Made]], dict[str, Any]]


def row_options(row: Mapping[str, Any]) -> ProtocolOptions:
    """The options that a row keeps."""
    return PROTOCOLS[row["protocol"]](**json.loads(row["protocol_options"]))


def write_encoder(folder: Path, kept: Path, trained: Encoder | None) -> Encoder:
    """Writes the encoder as the store keeps it, its mask beside it where it has one; or what training made of it.

    Args:
        folder: where to.
        kept: folder of the encoder in the store.
        trained: the encoder, where it was trained together with what stands behind it.

    Returns:
        The encoder as it was written, on the CPU.
    """
    if trained is not None:
        save_encoder(trained, folder)
    else:
        for name in (WEIGHTS, CARD, MASK):
            if (kept / name).is_file():
                shutil.copyfile(kept / name, folder / name)
    return load_encoder(folder)
