"""Which entrant, and which of its seeds and draws: the entrant by the leaderboard, the rest on validation images."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from bench.data.catalog import Dataset
from bench.engine.pretrain import ensure_trained
from bench.engine.site import Site
from bench.engine.winner.candidate import Candidate, row_options
from bench.engine.winner.tasks import TASKS
from bench.errors import UserError
from bench.methods.encoder import load_encoder
from bench.protocols.base import Evaluation
from bench.protocols.features import encode
from bench.seeds import named_seed
from bench.store.contender import Contender
from bench.store.fragments import Fragments
from bench.study.methods import METHODS
from bench.study.protocols import Cell, ProtocolOptions

WITHOUT_WEIGHTS = ("pixels", "hog", "partner")


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
    raise UserError(f"weights: {asked!r} leaves nothing to take home: {found}; valid: protocols {', '.join(TASKS)}")


def _refusal(contender: Contender) -> str | None:
    if contender.method in WITHOUT_WEIGHTS:
        return f"{contender.method} learns no weights"
    if contender.protocol not in TASKS:
        return f"what {contender.protocol} makes is not taken home yet"
    return None


def candidates(site: Site, contender: Contender) -> list[Candidate[Any]]:
    """Every seed and draw of the entrant at the label budget of its rows, in the order of the seeds.

    Raises:
        UserError: the images are not those of the rows any more.
    """
    site.settle()
    dataset = site.dataset()
    rows = Fragments(site.root, "rows").read(_in_order, contender.row_keys)
    _check_images(dataset, rows, contender)
    return [_candidate(site, contender, row) for row in rows.to_dicts()]


def _in_order(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.sort("seed", "draw", nulls_last=False)


def choose(found: Sequence[Candidate[Any]]) -> Candidate[Any]:
    """The candidate that is best on the validation images; ties, and sets without such, go to the first."""
    return max(found, key=lambda candidate: -math.inf if math.isnan(candidate.quality) else candidate.quality)


def _candidate(site: Site, contender: Contender, row: Mapping[str, Any]) -> Candidate[Any]:
    options = METHODS[row["method"]](**json.loads(row["options"]))
    folder, _ = ensure_trained(site, row["pretrain_key"], row["method"], options)
    task = TASKS[row["protocol"]]
    evaluation = _evaluation(site, row, folder, row_options(row))
    refit, score = task.again(evaluation)
    return Candidate(row, folder, refit, score, task.quality(evaluation, refit, contender.metric))


def _evaluation(site: Site, row: Mapping[str, Any], folder: Path, options: ProtocolOptions) -> Evaluation:
    """What the protocol was handed when it measured this row, for its one cell."""
    encoder, dataset = load_encoder(folder).to(site.device), site.dataset()
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


def _check_images(dataset: Dataset, rows: pl.DataFrame, contender: Contender) -> None:
    if set(rows["dataset_fingerprint"]) != {dataset.fingerprint} or set(rows["split_digest"]) != {
        dataset.splits.digest
    }:
        raise UserError(
            f"weights: the images of study {contender.study!r} are not those it was measured on any more; "
            "run it again first"
        )
