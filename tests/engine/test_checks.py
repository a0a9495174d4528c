"""Mistakes that only torch or timm can see end before anything is scheduled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.engine.checks import check_names
from bench.errors import UserError
from bench.store.datasets import DataRecord
from bench.study.load import parse_study
from bench.study.plan import build_plan

RECORD = DataRecord("d", "s", "digits", "f", "p", (32, 32, 3), tuple("01"), (90,) * 2, 180, 40, 80)


def check(methods: dict[str, Any], **entry: Any) -> None:
    raw = {
        "study": "s",
        "data": {"name": "digits"},
        "methods": methods,
        "evaluate": [{"protocol": "linear", "label_budgets": [1], **entry}],
    }
    check_names(build_plan(parse_study(raw, "test"), RECORD, {}))


def test_good_names_pass() -> None:
    check({"random_init": {"encoder": "timm/resnet18"}, "pixels": {}}, layers=["stage2", "3", "last"])
    check({"random_init": {"encoder": "unet/tu-test_resnet"}, "pixels": {}}, layers=["enc2", "dec1", "last"])
    check({"mae": {"batch_size": 64, "augmentation": "crop"}}, protocol="fusion", partner="timm/resnet18")


@pytest.mark.parametrize(
    ("methods", "entry", "message"),
    [
        (
            {"random_init": {"encoder": "timm/resnet81"}},
            {},
            r"random_init.encoder: timm has no network 'resnet81'; near: ",
        ),
        (
            {"random_init": {"encoder": "unet/resnet81"}},
            {},
            r"random_init.encoder: segmentation-models-pytorch has no encoder 'resnet81'; near: unet/resnet18",
        ),
        (
            {"unet_mixed": {"encoder": "unet/tu-test_vit", "batch_size": 64}},
            {},
            r"unet_mixed.encoder: no U-Net can be built around 'unet/tu-test_vit'",
        ),
        (
            {"random_init": {"encoder": "unet/tu-test_convnext"}},
            {"layers": ["enc2"]},
            r"evaluate.0.layers: random_init.* has no layer 'enc2'; valid: last, enc3, enc4",
        ),
        ({"mae": {"batch_size": 64, "augmentation": "crp"}}, {}, r"mae.augmentation: unknown .*'crp'.*valid: .*crop"),
        (
            {"random_init": {"encoder": "timm/resnet18"}},
            {"layers": ["stage9"]},
            r"evaluate.0.layers: random_init has no layer 'stage9'; valid: last, stage1",
        ),
        (
            {"pixels": {}},
            {"protocol": "fusion", "partner": "vit_nan"},
            r"evaluate.0.partner: unknown encoder 'vit_nan'",
        ),
        ({"pixels": {}}, {"protocol": "fusion", "partner": "timm/nothing"}, r"evaluate.0.partner: timm has no network"),
        ({"random_init": {}}, {"protocol": "finetune", "augmentation": "x"}, r"evaluate.0.augmentation: unknown .*'x'"),
    ],
)
def test_bad_names_are_named(methods: dict[str, Any], entry: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(methods, **entry)


def test_nothing_is_written_for_a_mistake(tmp_path: Path) -> None:
    from rich.console import Console

    from bench.engine.runner import run

    raw = {
        "study": "s",
        "data": {"name": "digits"},
        "methods": {"random_init": {"encoder": "timm/nothing"}},
        "evaluate": [{"protocol": "linear", "label_budgets": [1]}],
    }
    with pytest.raises(UserError, match="timm has no network"):
        run(parse_study(raw, "test"), tmp_path / "results", Console(quiet=True))
    assert not (tmp_path / "results" / "studies").exists()
    assert not (tmp_path / "results" / "rows").exists()
