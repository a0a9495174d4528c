"""A synthetic study of pretraining on noisy labels: gains over random initialisation that fall with the noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.seeds import named_seed
from bench.store.files import write_json
from bench.store.fragments import Fragments
from bench.store.keys import content_key
from bench.store.schema import ROWS
from tests.results.synthetic import START, write_study

BUDGETS = ("4", "16", "64")
# noise, rate, share of the pixels wrong, information lost, gain at the least labels
LEVELS = (
    ("none", 0.0, 0.0, 0.0, 0.12),
    ("flip", 0.5, 0.21, 0.38, 0.06),
    ("flip", 1.0, 0.45, 0.71, 0.006),
    ("permuted", 1.0, 0.8, 0.99, -0.06),
)


def write_noisy(
    root: Path,
    *,
    seeds: int = 4,
    realisations: Sequence[int] = (0,),
    handling: Sequence[str] = (),
    judged: Sequence[dict[str, Any]] = ({},),
) -> str:
    """Writes rows and manifest of a study of four noise levels under segmentation; returns the study's key.

    Args:
        seeds: of every setting.
        realisations: noise seeds; an axis where there are several.
        handling: values of a further axis.
        judged: options of segmentation, an entry each; each scores 0.01 more than the one before.
    """
    write_study(root, entrants=(), seeds=1, draws=1)
    (record,) = (root / "data").glob("*.json")
    data = json.loads(record.read_text())
    settings: list[tuple[str, dict[str, Any], tuple[float, float] | None, float]] = [("random_init", {}, None, 0.0)]
    for noise, rate, wrong, lost, gain in LEVELS:
        for number in realisations if rate else [0]:
            for way in handling or [None]:
                axes: dict[str, Any] = {"noise": noise, "rate": rate}
                axes |= {"noise_seed": number} if len(realisations) > 1 else {}
                axes |= {"handling": way} if way else {}
                settings.append(("noisy_labels", axes, (wrong, lost), gain))
    rows = [
        _row(data, method, axes, noise, gain + 0.01 * place, seed, budget, draw, entry)
        for place, entry in enumerate(judged)
        for method, axes, noise, gain in settings
        for seed in range(seeds)
        for budget in BUDGETS
        for draw in range(3)
    ]
    Fragments(root, "rows").write(pl.DataFrame(rows, schema=ROWS))
    spec = {"study": "noisy", "data": {"name": "land_cover"}, "seeds": seeds, "methods": {"noisy_labels": {}}}
    spec |= {"reference": ["random_init+segmentation"]}
    key = content_key("study", spec=spec, realisations=list(realisations), handling=list(handling))
    named = {"study_key": key, "study": "noisy", "spec": spec, "data": data, "search_keys": []}
    named |= {"row_keys": [row["row_key"] for row in rows], "created": START.isoformat()}
    for path in (root / "studies").glob("*.json"):
        path.unlink()
    write_json(root / "studies" / f"{key}.json", named)
    return key


def _row(
    data: dict[str, Any],
    method: str,
    axes: dict[str, Any],
    noise: tuple[float, float] | None,
    gain: float,
    seed: int,
    budget: str,
    draw: int,
    judged: dict[str, Any],
) -> dict[str, Any]:
    key = content_key("pretrain", method=method, axes=axes, seed=seed)
    images = int(budget)
    score = 0.3 + 0.05 * np.log2(images) / 2 + gain * (4 / images) ** 0.25
    score += 0.002 * _normal("seed", method, json.dumps(axes), seed) + 0.01 * _normal("draw", budget, draw)
    score += 0.001 * _normal("rest", key, budget, draw)
    details = {"realised_noise_rate": noise[0], "information_loss": noise[1]} if noise else {"effective_rank": 3.0}
    options = {"noise": "flip", "rate": 0.3, "noise_seed": 0} | axes if noise else {}
    return dict.fromkeys(ROWS) | {
        "schema_version": 2,
        "row_key": content_key("row", pretrain=key, judged=judged, budget=budget, draw=draw),
        "unit_key": content_key("unit", pretrain=key, judged=judged),
        "pretrain_key": key,
        "dataset": data["name"],
        "split_digest": data["split_digest"],
        "method": method,
        "encoder": "unet_nano",
        "seed": seed,
        "axes": json.dumps(axes, sort_keys=True),
        "options": json.dumps(options, sort_keys=True),
        "protocol": "segmentation",
        "protocol_options": json.dumps(judged, sort_keys=True),
        "label_budget": budget,
        "n_labels": images,
        "draw": draw,
        "layer": "last",
        "n_selection_labels": 0,
        "miou": float(score),
        "pixel_accuracy": float(score) + 0.2,
        "n_test": 50,
        "details": json.dumps(details, sort_keys=True),
        "numerical_versions": "{}",
        "started": START,
        "finished": START,
        "status": "ok",
    }


def _normal(*names: object) -> float:
    return float(np.random.default_rng(named_seed(*names)).normal())
