"""Which entrant, and which of its seeds and draws: the entrant by the leaderboard, the rest on validation images."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from bench.data.catalog import Dataset
from bench.engine.pretrain import ensure_trained
from bench.engine.site import Site
from bench.engine.winner.model import WinnerModel, logits_of
from bench.engine.winner.refit import REFITS, Refit
from bench.errors import UserError
from bench.methods.encoder import load_encoder
from bench.protocols.base import Evaluation
from bench.protocols.features import encode
from bench.protocols.metrics import measure
from bench.seeds import named_seed
from bench.store.contender import Contender
from bench.store.fragments import Fragments
from bench.study.methods import METHODS
from bench.study.protocols import PROTOCOLS, Cell

WITHOUT_WEIGHTS = ("pixels", "hog", "partner")


@dataclass(frozen=True)
class Candidate:
    """One seed and draw of an entrant: its row, the folder of its encoder, the head fitted once more.

    Attributes:
        quality: the leaderboard's metric on the labelled validation images; nan where there are none.
    """

    row: Mapping[str, Any]
    folder: Path
    refit: Refit
    quality: float


def pick(contenders: Sequence[Contender], asked: str) -> tuple[Contender, list[str]]:
    """The best entrant that can be taken home, and why each better one cannot, in words.

    Raises:
        UserError: none can.
    """
    passed = []
    for contender in contenders:
        reason = _refusal(contender)
        if reason is None:
            return contender, passed
        passed.append(f"place {contender.place}, {contender.entrant}: {reason}")
    found = "; ".join(passed[:3]) or "the study has no score of it at this label budget (another: --study NAME)"
    raise UserError(f"weights: {asked!r} leaves nothing to take home: {found}; valid: protocols {', '.join(REFITS)}")


def _refusal(contender: Contender) -> str | None:
    if contender.method in WITHOUT_WEIGHTS:
        return f"{contender.method} learns no weights"
    if contender.protocol not in REFITS:
        return f"what {contender.protocol} makes is not taken home yet"
    return None


def candidates(site: Site, contender: Contender) -> list[Candidate]:
    """Every seed and draw of the entrant at the label budget of its rows, in the order of the seeds.

    Raises:
        UserError: the images are not those of the rows any more.
    """
    site.settle()
    dataset = site.dataset()
    rows = Fragments(site.root, "rows").scan(contender.row_keys).sort("seed", "draw", nulls_last=False).collect()
    _check_images(dataset, rows, contender)
    return [_candidate(site, contender, row) for row in rows.to_dicts()]


def choose(found: Sequence[Candidate]) -> Candidate:
    """The candidate that is best on the validation images; ties, and sets without such, go to the first."""
    return max(found, key=lambda candidate: -math.inf if math.isnan(candidate.quality) else candidate.quality)


def validation_of(dataset: Dataset) -> np.ndarray:
    """Indices of the labelled validation images."""
    held: np.ndarray = dataset.splits.validation[dataset.splits.labels[dataset.splits.validation] >= 0]
    return held


def _candidate(site: Site, contender: Contender, row: Mapping[str, Any]) -> Candidate:
    options = METHODS[row["method"]](**json.loads(row["options"]))
    folder, _ = ensure_trained(site, row["pretrain_key"], row["method"], options)
    evaluation = _evaluation(site, row, folder)
    refit = REFITS[row["protocol"]](evaluation)
    return Candidate(row, folder, refit, _quality(evaluation, refit, contender.metric))


def _evaluation(site: Site, row: Mapping[str, Any], folder: Path) -> Evaluation:
    """What the protocol was handed when it measured this row, for its one cell."""
    encoder, dataset = load_encoder(folder).to(site.device), site.dataset()
    options = PROTOCOLS[row["protocol"]](**json.loads(row["protocol_options"]))
    layers = [row["layer"]] if options.reads_features else []
    return Evaluation(
        dataset=dataset,
        encoder=lambda: encoder,
        features=encode(encoder, dataset, layers, site.root, row["pretrain_key"], device=site.device),
        options=options,
        cells=[Cell(row["label_budget"], row["draw"], row["layer"], None)],
        seed=named_seed(row["unit_key"]),
        root=site.root,
        device=site.device,
        folder=folder,
    )


@torch.inference_mode()
def _quality(evaluation: Evaluation, refit: Refit, metric: str) -> float:
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


def _check_images(dataset: Dataset, rows: pl.DataFrame, contender: Contender) -> None:
    if set(rows["dataset_fingerprint"]) != {dataset.fingerprint} or set(rows["split_digest"]) != {
        dataset.splits.digest
    }:
        raise UserError(
            f"weights: the images of study {contender.study!r} are not those it was measured on any more; "
            "run it again first"
        )
