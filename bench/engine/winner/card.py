"""`card.json`: what a winner is, in words a program reads. It is the card of the encoder, and one entry more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.data.catalog import Dataset
from bench.engine.winner.candidate import Candidate
from bench.engine.winner.model import FORMAT
from bench.methods.encoder import CARD
from bench.store.contender import Contender
from bench.store.files import read_json, write_json
from bench.study.spec import DataSpec

NOT_STATED = "not stated"
_SCORES = (
    *("exact_ratio", "miou", "pixel_accuracy", "boundary_f1"),
    *("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "mean_specificity", "nll", "ece"),
)


def write_card(folder: Path, winner: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the entry `winner` to the card of the encoder in the folder, with digests of the other files there."""
    files = {path.name: _digest(path) for path in sorted(folder.iterdir()) if path.name != CARD}
    card = {**read_json(folder / CARD), "winner": {**winner, "files": files}}
    write_json(folder / CARD, card)
    return card


def describe(
    contender: Contender, chosen: Candidate[Any], tried: Sequence[Candidate[Any]], dataset: Dataset, licence: str
) -> dict[str, Any]:
    """What is known of a winner before its files are written, whatever its task, plain JSON data."""
    row = chosen.row
    return {
        "format": FORMAT,
        "bench": version("pretextbench"),
        "entrant": contender.entrant,
        "layer": row["layer"],
        "row": {
            **{name: row[name] for name in ("row_key", "pretrain_key", "seed", "draw", "label_budget", "n_labels")},
            **{name: row[name] for name in ("method", "encoder", "protocol", "n_test")},
            "options": json.loads(row["options"]),
            "protocol_options": json.loads(row["protocol_options"]),
            "selected": json.loads(row["selected"]),
            "n_selection_labels": row["n_selection_labels"],
            "scores": {name: _number(row[name]) for name in _SCORES if row[name] is not None},
        },
        "leaderboard": {
            "study": contender.study,
            "place": contender.place,
            "of": contender.of,
            "metric": contender.metric,
            "level": contender.level,
            "placed_by": {"over": contender.over, **asdict(contender.placed_by)},
            "at_budget": asdict(contender.at_budget),
        },
        "candidates": [
            {"seed": one.row["seed"], "draw": one.row["draw"], "validation": _number(one.quality)} for one in tried
        ],
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "split_digest": dataset.splits.digest,
            "images": {
                name: len(getattr(dataset.splits, name)) for name in ("pretraining", "train", "validation", "test")
            },
            "licence": licence,
        },
    }


def input_of(dataset: Dataset, spec: DataSpec) -> dict[str, Any]:
    """How an image becomes what the network reads: its shape, and what images are fitted to.

    A square store of images that kept their size still says which side another image is fitted to.
    """
    shape = dataset.shape
    side = shape.height if shape.height == shape.width else None
    return {**shape._asdict(), "side": side, "value_range": spec.value_range and list(spec.value_range)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _number(value: float | None) -> float | None:
    """JSON has no word for what is not a number."""
    return None if value != value else value
