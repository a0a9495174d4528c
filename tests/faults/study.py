"""The study that is disturbed: tiny, run by the real runner; without Ray its tasks run one after another."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import torch
from rich.console import Console

import bench.engine.cluster as cluster_module
import bench.engine.evaluate as evaluate_module
import bench.engine.runner as runner_module
import bench.engine.search  # noqa: F401  (slow to import: here, and not in every process)
import bench.engine.sharing as sharing_module
import bench.engine.tasks as tasks_module
import bench.training.loop as loop_module
from bench.engine.cluster import Cluster
from bench.engine.evaluate import run_units
from bench.engine.outcome import Outcome
from bench.engine.site import Site
from bench.store.fragments import Fragments
from bench.store.quarantine import quarantined
from bench.study.load import parse_study
from bench.study.plan import Pretraining, Unit
from tests.faults.journal import Journal, count_rows, count_steps

STUDY: dict[str, Any] = {
    "study": "faults",
    "data": {"name": "digits", "max_train": 200, "max_test": 60},
    "methods": {
        "pixels": {},
        "mae": {"encoder": "vit_nano", "epochs": 2, "batch_size": 32},
        "unet_masked": {"encoder": "unet_nano", "epochs": 2, "batch_size": 32},
    },
    "evaluate": [
        {"protocol": "knn", "label_budgets": [1, 2], "draws": 2},
        {"protocol": "nearest_centroid", "label_budgets": [1, 2], "draws": 1},
    ],
    "seeds": 1,
    "reference": ["pixels+knn"],
}
VALUES = ("status", "accuracy", "balanced_accuracy", "macro_f1", "correct", "class_correct", "selected", "n_labels")
Patch = Callable[[], None]


class Serial:
    """Takes the place of `bench.engine.tasks.Tasks`: runs each task when it is asked for, in this process."""

    def __init__(self, site: Site, receive: Callable[[Outcome], None], slots: int) -> None:
        self.site, self.receive = site, receive
        self.failed: list[Outcome] = []

    def __enter__(self) -> Serial:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, pretraining: Pretraining, units: Sequence[Unit]) -> None:
        outcome = run_units(self.site, pretraining, tuple(units))
        if outcome.status == "failed":
            self.failed.append(outcome)
        self.receive(outcome)

    def wait(self) -> tuple[Outcome, ...]:
        return tuple(self.failed)


@contextmanager
def _no_cluster(address: str | None) -> Iterator[Cluster]:
    yield Cluster("no cluster", ({"CPU": 1.0},), ())


def run(study: dict[str, Any], root: Path, journal: Path, patches: Sequence[Patch] = ()) -> None:
    """Runs what the store lacks of the study, in this process, writing a checkpoint behind every step.

    Args:
        journal: takes a byte for every training step (`s`) and for every row that was scored (`r`).
        patches: called first: what they break stays broken, so run this in a process of its own.

    Raises:
        RuntimeError: a task failed.
    """
    torch.set_num_threads(1)
    cluster_module.connected = _no_cluster
    sharing_module.check_shared = lambda root: None
    tasks_module.Tasks = Serial
    kept = Journal(journal)
    count_steps(loop_module, kept)
    count_rows(evaluate_module, kept)
    for patch in patches:
        patch()
    summary = runner_module.run(parse_study(study, "faults"), root, Console(file=io.StringIO()))
    if summary.failed:
        raise RuntimeError("; ".join(f"{outcome.label}: {outcome.reason}" for outcome in summary.failed))


def look(study: dict[str, Any], root: Path) -> dict[str, Any]:
    """What the store holds: expected keys, rows by key, how many rows were written in all, damage and quarantine."""
    plan = runner_module.make_plan(parse_study(study, "faults"), root)
    rows = Fragments(root, "rows")
    table = rows.scan().collect()
    written = sum(pl.scan_parquet(path).select(pl.len()).collect().item() for path in rows.files())
    values = table.select("row_key", "method", "reason", "details", *VALUES).to_dicts()
    for value in values:
        value["correct"] = None if value["correct"] is None else value["correct"].hex()
    return {
        "expected": plan.row_keys(),
        "keys": table["row_key"].to_list(),
        "rows": {value["row_key"]: value for value in values},
        "written": written,
        "damaged": [path.name for path in rows.damaged()],
        "quarantine": quarantined(root),
    }
