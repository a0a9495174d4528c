"""A small study on digits, run in this process: what winners are taken from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.engine.evaluate import run_units
from bench.engine.runner import make_plan
from bench.engine.site import Site
from bench.study.load import parse_study
from bench.study.manifest import write_manifest

STUDY: dict[str, Any] = {
    "study": "take-home",
    "data": {"name": "digits", "max_train": 300, "max_test": 150},
    "methods": {
        "mae": {"encoder": "vit_nano", "epochs": 2, "batch_size": 64},
        "random_init": {"encoder": "conv_nano"},
        "pixels": {},
    },
    "evaluate": [
        {"protocol": "linear", "label_budgets": [2, 10], "draws": 2, "layers": ["block1", "last"], "methods": ["mae"]},
        {"protocol": "linear", "label_budgets": [2, 10], "draws": 2, "methods": ["pixels", "random_init"]},
        {"protocol": "knn", "label_budgets": [2, 10], "draws": 2, "methods": ["random_init"]},
        {"protocol": "nearest_centroid", "label_budgets": [2], "draws": 2, "methods": ["random_init"]},
    ],
    "seeds": 2,
    "reference": ["pixels+linear"],
}


def run_here(root: Path, raw: dict[str, Any]) -> Site:
    """Runs a study without a cluster, and writes its manifest."""
    study = parse_study(raw, raw["study"])
    plan = make_plan(study, root)
    site = Site(root, study.data, study.resources)
    for pretraining in plan.pretrainings:
        outcome = run_units(site, pretraining, pretraining.units)
        assert outcome.status == "ok", outcome.details
    write_manifest(root, plan)
    return site
