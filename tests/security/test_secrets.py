"""Passwords, signatures and tokens: refused in one line wherever they would be kept, and blotted out of errors."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import polars as pl
import pytest

from bench.commands.run_on_cluster import check_options
from bench.engine.evaluate import run_units
from bench.engine.loggers import Point, logging_to
from bench.engine.site import Site
from bench.engine.tasks import _why
from bench.errors import UserError
from bench.results.export import export
from bench.store.fragments import Fragments
from bench.store.mirror import open_place
from bench.store.secrets import check_place, holds_secret, redacted, said
from bench.study.load import parse_study
from bench.study.methods import PixelsOptions
from tests.results.synthetic import write_study
from tests.test_cli import Bench, bench  # noqa: F401 # a fixture

WORD = "aVeryLongSecretWord"
SECRETS = (
    f"s3://KEY:{WORD}@bucket/x",
    f"s3://KEY:a/{WORD}@bucket/x",
    f"mysql://:{WORD}@host/db",
    f"https://host/x?X-Amz-Signature={WORD}",
    f"https://host/x?sv=1&sig={WORD}",
    f"see https://host/x?token={WORD}, which opens it",
    f"https://host/x#access_token={WORD}",
    "AKIAABCDEFGHIJKLMNOP",
    "hf_" + 2 * WORD,
    "ghp_" + 2 * WORD,
    "-----BEGIN RSA PRIVATE KEY-----",
)
HARMLESS = (
    "s3://bucket/train-{000..012}.tar",
    "abfs://container@account.dfs.core.windows.net/x",
    "sftp://user@host:22/path",
    "http://host:8080/path@x",
    "gs://bucket/a:b@c",
    "https://host/x?version=2&n=3",
    "Does the key help? The monkey says a = b",
    "linear.balanced_accuracy@10",
    "MAE (arXiv 2111.06377): tokens=196, key=value",
)
STUDY: dict[str, Any] = {
    "study": "guarded",
    "data": {"name": "digits", "max_train": 100, "max_test": 50},
    "methods": {"timm": {"encoder": "timm/resnet18"}, "pixels": {}},
    "evaluate": [{"protocol": "knn", "label_budgets": [1], "draws": 1}],
}


@pytest.mark.parametrize("text", SECRETS)
def test_a_secret_is_told_and_blotted_out(text: str) -> None:
    assert holds_secret(text)
    assert WORD not in redacted(text)
    assert not holds_secret(redacted(text))


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert not holds_secret(text)
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("description", {"description": f"from {SECRETS[0]}"}),
        ("data.root", {"data": {"name": "shards", "root": SECRETS[3]}}),
        ("data.palette", {"data": {"name": "masks", "root": "x", "palette": SECRETS[0]}}),
        ("methods.timm.weights", {"methods": {"timm": {"encoder": "timm/resnet18", "weights": SECRETS[0]}}}),
        ("claims.0.name", {"claims": [{"name": SECRETS[4], "not_testable": "x"}]}),
        ("claims.0.not_testable", {"claims": [{"name": "x", "not_testable": SECRETS[5]}]}),
        ("evaluate.0.layers.0", {"evaluate": [{"protocol": "knn", "label_budgets": [1], "layers": [SECRETS[0]]}]}),
        ("scientific.mae.encoder.1", {"scientific": {"mae.encoder": ["vit_nano", SECRETS[0]]}}),
        ("methods.https://***@h", {"methods": {f"https://u:{WORD}@h": {}}}),
    ],
)
def test_no_text_of_a_study_may_hold_one(where: str, change: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        parse_study(STUDY | change, "a.yaml")
    assert str(caught.value).startswith(f"a.yaml: {where}: holds a password, signature or token, which manifests, ")
    assert WORD not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_places_may_not_hold_one(bench: Bench, tmp_path: Path) -> None:  # noqa: F811
    asked = (
        lambda: open_place(SECRETS[0]),
        lambda: check_options(f"https://u:{WORD}@host", False, None),
        lambda: check_place("--data", SECRETS[3]),
    )
    for key, ask in zip(("--results s3://***@bucket/x", "--cluster https", "--data https"), asked, strict=True):
        with pytest.raises(UserError, match="holds a password") as caught:
            ask()
        assert str(caught.value).startswith(key)
        assert WORD not in str(caught.value)
    for arguments in (
        ("run", "quickstart", "--results", SECRETS[0]),
        ("run", "quickstart", "--results", tmp_path, "--set", f"data.root={SECRETS[3]}"),
        ("run", "--data", SECRETS[3], "--results", tmp_path),
    ):
        done = bench(*arguments)
        assert (done.status, len(done.err.splitlines()), WORD in done.err + done.out) == (2, 1, False), done
    assert not any(WORD in path.read_text(errors="ignore") for path in tmp_path.rglob("*") if path.is_file())


def test_what_failed_is_told_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reason in the row, in the outcome and its traceback."""
    import bench.engine.evaluate as module

    plan = build_digits_plan(tmp_path)
    (pretraining,) = plan.pretrainings

    def fails(*_: object) -> None:
        raise OSError(f"403 for https://host/x?X-Amz-Signature={WORD}&v=1 and s3://KEY:{WORD}@bucket")

    monkeypatch.setattr(module, "ensure_trained", fails)
    site = Site(tmp_path, plan.study.data, plan.study.resources)
    outcome = run_units(site, pretraining, pretraining.missing(set()))
    rows = Fragments(tmp_path, "rows").scan().collect()
    reason = "OSError: 403 for https://host/x?***&v=1 and s3://***@bucket"
    assert (outcome.status, outcome.reason, rows["reason"].unique().to_list()) == ("failed", reason, [reason])
    assert "Traceback" in str(outcome.details)
    assert WORD not in str(outcome.details)
    assert not any(WORD.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def build_digits_plan(root: Path) -> Any:
    from bench.engine.runner import make_plan

    return make_plan(parse_study(STUDY | {"methods": {"pixels": {}}}, "test"), root)


def test_errors_of_ray_and_of_loggers_are_told_without(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ray.exceptions import RaySystemError

    assert WORD not in _why(RaySystemError(f"lost s3://KEY:{WORD}@bucket"))
    assert said(ValueError(f"a\n https://h?token={WORD} b"), 30) == "ValueError: a https://h?*** b"
    fake = ModuleType("aim")

    def refuses(**_: object) -> None:
        raise OSError(f"https://u:{WORD}@host says no")

    fake.Run = refuses  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aim", fake)
    (tmp_path / "logs" / "aim").mkdir(parents=True)
    with caplog.at_level(logging.WARNING), logging_to(["aim"], tmp_path, "key", PixelsOptions()):
        pass
    assert caplog.messages == ["--log aim: OSError: https://***@host says no"]


def test_back_ends_hold_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bench.engine.loggers import prepare_loggers

    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_RUN_CONTEXT", "USER", "LOGNAME"):
        monkeypatch.setenv(name, WORD)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    monkeypatch.setattr(sys, "argv", [*sys.argv, WORD])
    names = prepare_loggers(("tensorboard", "mlflow"), tmp_path)
    with logging_to(names, tmp_path, "key", PixelsOptions()) as hand_over:
        hand_over([Point("loss/epoch", 0.5, 1)])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path).parts[:2] for path in files} == {("logs", "tensorboard"), ("logs", "mlflow")}
    assert not any(WORD.encode() in path.read_bytes() for path in files)
    assert any(b"loss/epoch" in path.read_bytes() for path in files)


def test_back_ends_that_look_around_are_told_not_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Aim and wandb are no part of the tests' environment: what counts is what they are asked for."""
    asked: dict[str, dict[str, Any]] = {}
    run = SimpleNamespace(
        hash="f00d", name="", define_metric=lambda *_, **__: None, finish=lambda: None, close=lambda: None
    )
    run_of_aim = type("Run", (dict,), {"hash": "f00d", "close": lambda self: None})
    fakes = {"aim": ModuleType("aim"), "wandb": ModuleType("wandb")}
    fakes["aim"].Run = lambda **how: asked.update(aim=how) or run_of_aim()  # type: ignore[attr-defined]
    fakes["wandb"].init = lambda **how: asked.update(wandb=how) or run  # type: ignore[attr-defined]
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
        (tmp_path / "logs" / name).mkdir(parents=True)
    with logging_to(["aim", "wandb"], tmp_path, "key", PixelsOptions()):
        pass
    assert not asked["aim"]["log_system_params"]
    assert not asked["aim"]["capture_terminal_logs"]
    settings = asked["wandb"]["settings"]
    assert settings["console"] == "off"
    assert all(settings[name] for name in ("disable_code", "disable_git", "x_disable_meta", "x_disable_machine_info"))


def test_a_bundle_of_older_results_holds_none(tmp_path: Path) -> None:
    write_study(tmp_path)
    assert export(tmp_path, tmp_path / "before", "bundle")
    (manifest,) = (tmp_path / "studies").glob("*.json")
    told = json.loads(manifest.read_text())
    told["spec"]["description"] = f"from {SECRETS[0]}"
    manifest.write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"--format bundle: study\.json\.spec\.description: holds a password"):
        export(tmp_path, tmp_path / "after", "bundle")
    assert not list((tmp_path / "after").glob("*.parquet"))


def test_no_published_bundle_holds_one() -> None:
    for path in (Path(__file__).parents[2] / "docs" / "results").rglob("*"):
        if path.suffix in (".json", ".md"):
            assert not holds_secret(path.read_text()), path
        if path.name == "rows.parquet":
            texts = pl.scan_parquet(path).select(pl.col(pl.String).unique().implode()).collect()
            assert not any(holds_secret(text) for column in texts for text in column[0] if text), path
