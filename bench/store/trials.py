"""Records of search trials: written once, by whoever finished the trial; read back by search key."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from bench.store.fragments import Fragments
from bench.store.schema import SCHEMA_VERSION, TRIALS


def write_trial(
    root: Path,
    *,
    search_key: str,
    number: int,
    method: str,
    setting: Mapping[str, Any],
    parameters: Mapping[str, Any],
    objective: str,
    state: str,
    value: float | None,
    curve: Sequence[tuple[float, float]] = (),
    reason: str | None = None,
    seconds: float,
    gpu_seconds: float = 0.0,
) -> None:
    """Writes one trial's record atomically."""
    record = {
        "schema_version": SCHEMA_VERSION,
        "search_key": search_key,
        "number": number,
        "method": method,
        "setting": json.dumps(dict(setting), sort_keys=True),
        "parameters": json.dumps(dict(parameters), sort_keys=True),
        "objective": objective,
        "value": value,
        "curve": [{"epoch": float(epoch), "value": float(score)} for epoch, score in curve],
        "state": state,
        "reason": reason,
        "seconds": seconds,
        "gpu_seconds": gpu_seconds,
        "host": socket.gethostname(),
        "finished": datetime.now(UTC),
    }
    Fragments(root, "trials").write(pl.DataFrame([record], schema=TRIALS))


def read_trials(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Settled records (complete, pruned or diverged) by search key, in the order of their numbers.

    A trial that failed for a reason of the machine has no settled record: it is run again.
    """
    settled = pl.col("state") != "failed"
    frame = Fragments(root, "trials").read(lambda trials: trials.filter(settled).sort("search_key", "number"))
    found: dict[str, list[dict[str, Any]]] = {}
    for record in frame.iter_rows(named=True):
        record["parameters"] = json.loads(record["parameters"])
        found.setdefault(record["search_key"], []).append(record)
    return found
