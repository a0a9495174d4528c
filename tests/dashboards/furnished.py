"""A synthetic study with what the pages beyond the leaderboard read: trials, training records, claims, fusion."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from bench.store.files import write_json
from bench.store.fragments import Fragments
from bench.store.trials import write_trial
from tests.results.synthetic import ENTRANTS, Truth, write_study

MASKS = (*ENTRANTS, Truth("mae", "linear", -0.6, 0.26, (("mask_ratio", 0.9),), pretrain_seconds=1100.0))
SEARCH = "0123456789abcdef0123456789abcdef"
CLAIMS: tuple[Mapping[str, Any], ...] = (
    {
        "name": "contrast beats pixels",
        "better": {"simclr": None},
        "worse": {"pixels": None},
        "metric": "linear.balanced_accuracy",
        "margin": 0.01,
    },
    {
        "name": "heavy masks help",
        "better": {"mae.mask_ratio": 0.9},
        "worse": {"mae.mask_ratio": 0.75},
        "metric": "linear.balanced_accuracy@50",
        "margin": 0.0,
    },
    {
        "name": "never run",
        "better": {"mae.mask_ratio": 0.1},
        "worse": {"mae.mask_ratio": 0.5},
        "metric": "linear.balanced_accuracy@10",
    },
)


def write_rich(root: Path, *, claims: Sequence[Mapping[str, Any]] = CLAIMS, seeds: int = 3, draws: int = 3) -> str:
    """A study with three mask ratios, trials in every state, training records and claims; returns its key."""
    key = write_study(root, entrants=MASKS, seeds=seeds, draws=draws)
    edit_manifest(root, key, search_keys=[SEARCH], claims=list(claims))
    write_trials(root)
    write_records(root)
    return key


def edit_manifest(root: Path, key: str, *, search_keys: Sequence[str] = (), claims: Sequence[object] = ()) -> None:
    """Gives a study's manifest searches and claims."""
    path = root / "studies" / f"{key}.json"
    manifest = json.loads(path.read_text())
    manifest["search_keys"] = list(search_keys)
    manifest["spec"]["claims"] = list(claims)
    write_json(path, manifest)


def write_trials(root: Path) -> None:
    """Three finished trials, one pruned after its first rung, one diverged."""
    ends = [("complete", 0.61), ("complete", 0.66), ("complete", 0.64), ("pruned", None), ("diverged", None)]
    for number, (state, value) in enumerate(ends):
        curve = [(5.0, 0.4), (10.0, 0.5), (20.0, value)] if value else [(5.0, 0.31)] if state == "pruned" else []
        write_trial(
            root,
            search_key=SEARCH,
            number=number,
            method="mae",
            setting={"mask_ratio": 0.5},
            parameters={"lr": 1e-4 * 4**number, "norm_pix": number % 2 == 0},
            objective="linear.balanced_accuracy@10",
            state=state,
            value=value,
            curve=curve,
            reason="the loss was not finite at step 31" if state == "diverged" else None,
            seconds=12.5,
        )


def write_records(root: Path) -> None:
    """What a pretraining leaves beside its encoder, for every one of them but the failed."""
    rows = Fragments(root, "rows").scan().filter(pl.col("pretrain_seconds") > 0).collect()
    for key in rows["pretrain_key"].unique():
        folder = root / "artifacts" / "encoders" / key
        losses = [2.0 / epoch for epoch in range(1, 21)]
        record = {"status": "ok", "reason": None, "seconds": 9.0, "images_per_second": 2500.0, "losses": losses}
        write_json(folder / "training.json", record | {"device": "cpu, 1 thread", "parameters": 5})
