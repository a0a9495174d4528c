"""A results root made by chance: complete, valid, seeded, with known truths, for tests and for looking at pages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.seeds import named_seed
from bench.store.datasets import DataRecord
from bench.store.files import write_json
from bench.store.fragments import Fragments
from bench.store.keys import canonical_json, content_key
from bench.store.schema import ROWS, SCHEMA_VERSION
from bench.study import versions
from bench.study.lineage import source_hash

CLASSES = 10
POOL = 1000  # training images of each class
BUDGETS = ("1", "2", "5", "10", "50", "all")
VERSIONS = {"data": versions.DATA, "training": versions.TRAINING}
SOURCE = source_hash("pixels", "linear")  # of all rows, so that none of them looks edited
START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Truth:
    """One entrant: its skill in probits is `level + slope * log2(labels per class)`."""

    method: str
    protocol: str
    level: float
    slope: float
    axes: tuple[tuple[str, float], ...] = ()
    layer: str = "block6"
    budgets: tuple[str, ...] = BUDGETS
    seeded: bool = True
    status: str = "ok"  # of the last seed
    failed_seeds: int = 0
    pretrain_seconds: float = 0.0
    search_seconds: float = 0.0
    encoder: str = "vit_tiny"

    def at(self, log_labels: float) -> float:
        """Skill in probits at log2(labels per class)."""
        return self.level + self.slope * log_labels


FEW = ("1", "5", "50", "all")
ENTRANTS = (
    Truth("pixels", "linear", -0.55, 0.24, layer="pixels", seeded=False, encoder="pixels"),
    Truth("random_init", "finetune", -0.85, 0.29, budgets=FEW),
    Truth("random_init", "linear", -0.95, 0.20),
    Truth("simclr", "linear", -0.05, 0.27, pretrain_seconds=2460.0, search_seconds=7380.0),
    Truth("simclr", "finetune", -0.40, 0.30, budgets=FEW, pretrain_seconds=2460.0, search_seconds=7380.0),
    Truth("mae", "linear", -0.42, 0.27, (("mask_ratio", 0.5),), pretrain_seconds=1500.0, search_seconds=6100.0),
    Truth("mae", "linear", -0.25, 0.28, (("mask_ratio", 0.75),), pretrain_seconds=1320.0, search_seconds=5900.0),
    Truth("dino", "linear", -0.20, 0.22, status="diverged", failed_seeds=1, pretrain_seconds=3900.0),
    Truth("swav", "linear", 0.0, 0.0, status="collapsed", failed_seeds=99, pretrain_seconds=2100.0),
)


def write_study(
    root: Path,
    *,
    name: str = "mae-mask-ratio",
    entrants: Sequence[Truth] = ENTRANTS,
    seeds: int = 5,
    draws: int = 5,
    n_test: int = 400,
    created: datetime = START,
    reference: Sequence[str] = ("random_init+finetune", "pixels+linear"),
    missing: int = 0,
) -> str:
    """Writes rows, split table, data record and manifest under `root`; returns the study's key.

    Args:
        missing: how many of the promised rows are not there yet.
    """
    split_digest = content_key("split", n_test=n_test)
    items = _items(n_test)
    path = root / "splits" / f"{split_digest}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    items.write_parquet(path)
    record = _record(split_digest, n_test)
    record.save(root)
    labels = items.filter(pl.col("split") == "test").sort("item")["label"].to_numpy()
    rows = [row for truth in entrants for row in _rows(truth, labels, record, seeds, draws)]
    kept = rows[: len(rows) - missing]
    Fragments(root, "rows").write(pl.DataFrame(kept, schema=ROWS))
    spec = {"study": name, "data": {"name": record.name}, "seeds": seeds, "reference": list(reference)}
    study_key = content_key("study", spec=spec, n_test=n_test, draws=draws)
    write_json(
        root / "studies" / f"{study_key}.json",
        {
            "study_key": study_key,
            "study": name,
            "spec": spec,
            "data": record.as_json(),
            "row_keys": [row["row_key"] for row in rows],
            "search_keys": [],
            "created": created.isoformat(),
        },
    )
    return study_key


def _items(n_test: int) -> pl.DataFrame:
    """The split table [item, index, split, label, group]: every class equally often."""
    parts = {"train": CLASSES * 20, "validation": CLASSES * 4, "test": n_test}
    frames = [
        pl.DataFrame({"item": np.arange(size), "split": name, "label": np.arange(size) % CLASSES})
        for name, size in parts.items()
    ]
    table = pl.concat(frames).with_row_index("index").with_columns(pl.col("index").cast(pl.Int64))
    return table.with_columns(group=pl.col("index")).select("item", "index", "split", "label", "group")


def _record(split_digest: str, n_test: int) -> DataRecord:
    return DataRecord(
        data_key=content_key("data", n_test=n_test),
        source_key=content_key("source"),
        name="fashion_mnist",
        fingerprint=content_key("images"),
        split_digest=split_digest,
        image_shape=(32, 32, 1),
        class_names=tuple(f"class {index}" for index in range(CLASSES)),
        pool_counts=(POOL,) * CLASSES,
        n_train=POOL * CLASSES,
        n_validation=CLASSES * 4,
        n_test=n_test,
    )


def _rows(truth: Truth, labels: np.ndarray, record: DataRecord, seeds: int, draws: int) -> list[dict[str, Any]]:
    rows = []
    for seed in range(seeds) if truth.seeded else (None,):
        failed = seed is not None and seed >= seeds - truth.failed_seeds
        for budget in truth.budgets:
            for draw in range(1 if budget == "all" else draws):
                rows.append(_row(truth, labels, record, seed, budget, draw, failed))
    return rows


def _row(
    truth: Truth, labels: np.ndarray, record: DataRecord, seed: int | None, budget: str, draw: int, failed: bool
) -> dict[str, Any]:
    axes = dict(truth.axes)
    per_class = POOL if budget == "all" else int(budget)
    pretrain_key = content_key("pretrain", method=truth.method, axes=axes, seed=seed)
    unit_key = content_key("unit", pretrain=pretrain_key, protocol=truth.protocol)
    row: dict[str, Any] = dict.fromkeys(ROWS) | {
        "schema_version": SCHEMA_VERSION,
        "row_key": content_key("row", unit=unit_key, budget=budget, draw=draw, layer=truth.layer, n_test=len(labels)),
        "unit_key": unit_key,
        "pretrain_key": pretrain_key,
        "dataset": record.name,
        "dataset_fingerprint": record.fingerprint,
        "split_digest": record.split_digest,
        "method": truth.method,
        "encoder": truth.encoder,
        "seed": seed,
        "axes": canonical_json(axes),
        "options": canonical_json({"epochs": 40, **axes}),
        "mask_ratio": axes.get("mask_ratio"),
        "protocol": truth.protocol,
        "protocol_options": "{}",
        "label_budget": budget,
        "n_labels": per_class * CLASSES,
        "draw": draw,
        "layer": truth.layer,
        "selected": "{}",
        "n_candidates": 1,
        "n_selection_labels": 0,
        "selection": "within_budget" if per_class >= 10 else "fixed",
        "n_test": len(labels),
        "pretrain_seconds": truth.pretrain_seconds,
        "gpu_seconds": truth.pretrain_seconds,
        "search_seconds": truth.search_seconds,
        "evaluate_seconds": 1.5,
        "parameters": 5_400_000,
        "bytes_added": 21_600_000,
        "version": "0.1.0",
        "git_dirty": False,
        "numerical_versions": json.dumps(VERSIONS),
        "source_hash": SOURCE,
        "packages": "{}",
        "device": "cpu",
        "host": "synthetic",
        "started": START,
        "finished": START + timedelta(minutes=5),
        "status": truth.status if failed else "ok",
        "reason": "the loss was not finite at step 310" if failed else None,
    }
    return row if failed else row | _scores(truth, labels, seed, budget, draw, np.log2(per_class))


def _scores(
    truth: Truth, labels: np.ndarray, seed: int | None, budget: str, draw: int, log_labels: float
) -> dict[str, Any]:
    """One seeded measurement: crossed effects of seed, draw (shared by all entrants) and test item."""
    who = (truth.method, truth.protocol, *truth.axes)
    seed_effect = 0.0 if seed is None else 0.05 * _normal("seed", *who, seed)
    draw_effect = 0.12 * 2 ** (-0.5 * log_labels) * _normal("draw", budget, draw)
    items = np.random.default_rng(named_seed("items")).normal(size=len(labels)) * 0.7
    noise = np.random.default_rng(named_seed("noise", *who, seed, budget, draw)).normal(size=len(labels)) * 0.7
    skill = truth.at(log_labels) + seed_effect + draw_effect
    correct = skill + items + noise > 0
    counts = np.bincount(labels, minlength=CLASSES)
    right = np.bincount(labels[correct], minlength=CLASSES)
    balanced = float((right / counts).mean())
    return {
        "accuracy": float(correct.mean()),
        "balanced_accuracy": balanced,
        "macro_f1": balanced - 0.005,
        "nll": 2.3 * (1.0 - balanced) + 0.1,
        "ece": 0.05,
        "class_counts": counts.tolist(),
        "class_correct": right.tolist(),
        "correct": np.packbits(correct).tobytes(),
    }


def _normal(*names: object) -> float:
    return float(np.random.default_rng(named_seed(*names)).normal())
