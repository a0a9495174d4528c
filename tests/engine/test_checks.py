"""Mistakes that only torch or timm can see end before anything is scheduled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.engine.checks import check_names
from bench.engine.networks import Networks
from bench.errors import UserError
from bench.methods.encoder import Encoder
from bench.store.datasets import DataRecord
from bench.study.load import parse_study
from bench.study.plan import build_plan

RECORD = DataRecord("d", "s", "digits", "f", "p", (32, 32, 3), tuple("01"), (90,) * 2, 180, 40, 80)


MASKED = replace(RECORD, class_names=tuple("0123"), masked=True, shown=((90,) * 4, (20,) * 4, (40,) * 4))


def check(methods: dict[str, Any], record: DataRecord = RECORD, **entry: Any) -> None:
    raw = {
        "study": "s",
        "data": {"name": "digits"},
        "methods": methods,
        "evaluate": [{"protocol": "linear", "label_budgets": [1], **entry}],
    }
    check_names(build_plan(parse_study(raw, "test"), record, {}))


def test_good_names_pass() -> None:
    check({"random_init": {"encoder": "timm/resnet18"}, "pixels": {}}, layers=["stage2", "3", "last"])
    check({"random_init": {"encoder": "unet/tu-test_resnet"}, "pixels": {}}, layers=["enc2", "dec1", "last"])
    check({"mae": {"batch_size": 64, "augmentation": "crop"}}, protocol="fusion", partner="timm/resnet18")
    check({"random_init": {"encoder": "unet/mit_b0"}})  # its schedule cannot be computed without values
    check({"random_init": {"encoder": "timm/vit_tiny_patch16_224"}}, protocol="finetune")


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
        (
            {"random_init": {"encoder": "timm/inception_v3"}},
            {"protocol": "finetune"},
            r"^methods.random_init.encoder: timm/inception_v3 cannot take 32 x 32 images of 3 channels: .*[Kk]ernel",
        ),
        (
            {"random_init": {"encoder": "timm/levit_128"}},
            {},
            r"^methods.random_init.encoder: timm/levit_128 cannot take 32 x 32 images of 3 channels: .*size of tensor",
        ),
        (
            {"pixels": {}},
            {"protocol": "fusion", "partner": "timm/levit_128"},
            r"^evaluate.0.partner: timm/levit_128 cannot take 32 x 32 images of 3 channels: ",
        ),
    ],
)
def test_bad_names_are_named(methods: dict[str, Any], entry: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(methods, **entry)


def test_few_shot_episodes_need_a_class_token_of_a_plain_transformer() -> None:
    episodes = {"protocol": "few_shot", "fold": 0, "folds": [["0"]], "ways": 1, "validation_classes": 1}
    for network in ("test_resnet", "swin_tiny_patch4_window7_224"):
        with pytest.raises(
            UserError, match=rf"^evaluate\.0\.protocol: 'timm/{network}' has no class token; valid: vit_na"
        ):
            check({"random_init": {"encoder": f"timm/{network}"}}, MASKED, **episodes)
    check({"random_init": {"encoder": "timm/vit_tiny_patch16_224"}}, MASKED, **episodes)


def test_a_network_is_asked_once_for_all_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple[str, str]] = []
    inner = Networks._built

    def counted(self: Networks, name: str, patch_size: int | None, device: str) -> Encoder:
        built.append((name, device))
        return inner(self, name, patch_size, device)

    monkeypatch.setattr(Networks, "_built", counted)
    before = torch.random.get_rng_state()
    trained = {name: {"encoder": "timm/test_resnet", "batch_size": 64} for name in ("simclr", "self_masking")}
    check({"random_init": {"encoder": "timm/test_resnet"}, **trained})
    assert built == [("timm/test_resnet", "meta")]
    assert torch.equal(torch.random.get_rng_state(), before)


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
