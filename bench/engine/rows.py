"""From a protocol's scores to rows of the store: identity, cost and provenance added."""

from __future__ import annotations

import json
import platform
import socket
import subprocess  # nosec B404 # no shell, arguments as lists
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl

from bench.data.catalog import Dataset
from bench.engine.trained import Trained
from bench.methods.inference import Inference, together
from bench.protocols.base import Score
from bench.store.schema import ROWS, SCHEMA_VERSION
from bench.study.lineage import numerical_versions, source_hash
from bench.study.methods import promoted
from bench.study.plan import Pretraining, Unit
from bench.study.protocols import NO_LAYER

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "ray", "optuna", "polars")


def score_rows(
    dataset: Dataset,
    pretraining: Pretraining,
    unit: Unit,
    trained: Trained | None,
    scores: Sequence[Score],
    *,
    started: datetime,
    seconds: float,
    collapsed: dict[str, str],
    ranks: Mapping[str, float],
    inference: Mapping[str, Inference],
) -> pl.DataFrame:
    """One row for each score.

    Args:
        seconds: wall seconds of the evaluation, shared evenly among its rows.
        collapsed: reason by layer, for layers whose features carry next to nothing.
        ranks: effective rank of the features by layer.
        inference: what the encoder costs where it is used, as far as each layer.
    """
    keys = {cell: key for key, cell in unit.cells.items()}
    shared = _shared(dataset, pretraining, unit, trained, started) | {"evaluate_seconds": seconds / max(1, len(scores))}
    measured = {} if trained is None else trained.measurements
    records = []
    for score in scores:
        reason = collapsed.get(score.cell.layer)
        state = {"status": "ok" if reason is None else "collapsed", "reason": reason}
        rank = {"effective_rank": ranks[score.cell.layer]} if score.cell.layer in ranks else {}
        scored = _deployed(score, inference) | _scored(score, {**measured, **rank})
        records.append(_blank() | shared | _cell(keys[score.cell], score.cell) | scored | state)
    return pl.DataFrame(records, schema=ROWS)


def unscored_rows(
    dataset: Dataset,
    pretraining: Pretraining,
    unit: Unit,
    trained: Trained | None,
    *,
    status: str,
    reason: str,
) -> pl.DataFrame:
    """A row without scores for each cell of a unit that could not be measured: it stays visible, tagged."""
    shared = _shared(dataset, pretraining, unit, trained, datetime.now(UTC)) | {"status": status, "reason": reason}
    records = [_blank() | shared | _cell(key, cell) for key, cell in unit.cells.items()]
    return pl.DataFrame(records, schema=ROWS)


def _blank() -> dict[str, Any]:
    return dict.fromkeys(ROWS)


def _cell(key: str, cell: Any) -> dict[str, Any]:
    return {
        "row_key": key,
        "label_budget": cell.label_budget,
        "draw": cell.draw,
        "layer": cell.layer,
        "fuse": cell.fuse,
    }


def _scored(score: Score, measured: Mapping[str, float]) -> dict[str, Any]:
    details = {**measured, **{name: value for name, value in score.extra.items() if name not in ROWS}}
    return {
        "n_labels": score.n_labels,
        **score.metrics,
        "class_counts": None if score.class_counts is None else list(score.class_counts),
        "class_correct": None if score.class_correct is None else list(score.class_correct),
        "correct": score.correct,
        "n_test": None if score.class_counts is None else int(sum(score.class_counts)),
        "selected": _json(score.selected),
        "n_candidates": score.n_candidates,
        "n_selection_labels": score.n_selection_labels,
        "selection": score.selection,
        **{name: value for name, value in score.extra.items() if name in ROWS},
        "details": _json(details) if details else None,
    }


def _deployed(score: Score, inference: Mapping[str, Inference]) -> dict[str, float | None]:
    """Arithmetic and speed of all networks that the entrant runs on an image: its encoder, its partner, or both."""
    costs = [] if score.cell.layer == NO_LAYER else [inference[score.cell.layer]]
    if "partner" in score.extra:
        costs.append(Inference(*(score.extra[f"partner_{name}"] for name in ("flops", "inference_per_second"))))
    cost = together(costs)
    return {"flops": cost.flops, "inference_per_second": cost.per_second}


def _shared(
    dataset: Dataset, pretraining: Pretraining, unit: Unit, trained: Trained | None, started: datetime
) -> dict[str, Any]:
    cost = {"pretrain_seconds": None, "gpu_seconds": None, "parameters": None, "device": None}
    if trained is not None:
        cost = {
            "pretrain_seconds": trained.seconds,
            "gpu_seconds": trained.gpu_seconds,
            "parameters": trained.parameters,
            "device": trained.device,
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "unit_key": unit.key,
        "pretrain_key": pretraining.key,
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint,
        "split_digest": dataset.splits.digest,
        "method": pretraining.setting.method,
        "encoder": pretraining.options.encoder_name,
        "seed": pretraining.seed,
        "axes": _json(dict(pretraining.setting.axes)),
        "options": _json(pretraining.options.model_dump(mode="json")),
        **promoted(pretraining.options),
        "protocol": unit.protocol.name,
        "protocol_options": _json(unit.protocol.value_options()),
        **cost,
        "search_seconds": pretraining.search_seconds,
        "numerical_versions": _json(numerical_versions(pretraining.setting.method, unit.protocol.name)),
        "source_hash": source_hash(pretraining.setting.method, unit.protocol.name),
        **environment(),
        "started": started,
        "finished": datetime.now(UTC),
    }


@cache
def environment() -> dict[str, Any]:
    """Version of bench, commit of the checkout, packages and host: the same for every row of a process."""
    commit, dirty = _commit()
    packages = {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES}
    return {
        "version": _version("pretextbench"),
        "git_commit": commit,
        "git_dirty": dirty,
        "packages": _json(packages),
        "host": socket.gethostname(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> tuple[str | None, bool | None]:
    """Commit and dirtiness of the checkout this package lies in; nulls for an installed wheel."""
    package = Path(__file__).resolve().parents[2]
    if not (package / ".git").exists():
        return None, None
    try:
        commit = subprocess.run(  # nosec B603 B607 # constants; git as the user has it
            ["git", "rev-parse", "HEAD"], cwd=package, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        status = subprocess.run(  # nosec B603 B607 # constants; git as the user has it
            ["git", "status", "--porcelain"], cwd=package, capture_output=True, text=True, check=True, timeout=10
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(status.strip())


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
