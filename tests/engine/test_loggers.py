"""Live loggers: what a real back end holds after a pretraining and its evaluation, read back."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import polars as pl
import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.engine.evaluate import run_units
from bench.engine.loggers import LOGGERS, Point, logging_to, prepare_loggers
from bench.engine.loggers.base import Subject
from bench.engine.runner import make_plan
from bench.engine.site import Site
from bench.engine.trained import find_trained
from bench.errors import UserError
from bench.store.fragments import Fragments
from bench.study.load import parse_study
from bench.study.methods import PixelsOptions
from bench.study.plan import Pretraining

STUDY = {
    "study": "logged",
    "data": {"name": "digits", "max_train": 120, "max_test": 40},
    "seeds": 1,
    "methods": {"simclr": {"epochs": 2, "batch_size": 32}},
    "evaluate": [{"protocol": "knn", "label_budgets": [1, 2], "draws": 2}],
}
FOLDERS = ("tensorboard", "mlflow")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pretraining]:
    """A results folder after one logged pretraining and its rows."""
    root = tmp_path_factory.mktemp("results")
    plan = make_plan(parse_study(STUDY, "test"), root)
    (pretraining,) = (item for item in plan.pretrainings if item.setting.method == "simclr")
    site = Site(root, plan.study.data, plan.study.resources, prepare_loggers(FOLDERS, root))
    outcome = run_units(site, pretraining, pretraining.missing(set()))
    assert outcome.status == "ok", outcome.details
    return root, pretraining


def expected(root: Path, key: str) -> dict[str, list[tuple[int, float]]]:
    """The epochs' losses of the training record, and the balanced accuracy of every row."""
    _, trained = find_trained(root, key)
    numbers = {"loss/epoch": [(epoch + 1, loss) for epoch, loss in enumerate(trained.losses)]}
    rows = Fragments(root, "rows").scan().filter(pl.col("status") == "ok").sort("draw").collect()
    for budget in ("1", "2"):
        of_budget = rows.filter(pl.col("label_budget") == budget)
        tag = f"knn/{of_budget['layer'][0]}/balanced_accuracy/labels_{budget}"
        numbers[tag] = list(of_budget.select("draw", "balanced_accuracy").iter_rows())
    assert [len(values) for values in numbers.values()] == [2, 2, 2]
    return numbers


def test_tensorboard_holds_losses_and_scores(told: tuple[Path, Pretraining]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    root, pretraining = told
    (folder,) = (root / "logs" / "tensorboard").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    for tag, values in expected(root, pretraining.key).items():
        found = sorted((event.step, event.value) for event in events.Scalars(tag))
        assert [step for step, _ in found] == [step for step, _ in values]
        assert [value for _, value in found] == pytest.approx([value for _, value in values], rel=1e-6)
    assert [event.step for event in events.Scalars("loss/step")] == list(range(2 * (120 // 32)))


def test_mlflow_holds_losses_scores_and_options_in_one_run(told: tuple[Path, Pretraining]) -> None:
    from mlflow import MlflowClient

    root, pretraining = told
    client = MlflowClient(tracking_uri=f"sqlite:///{root / 'logs' / 'mlflow' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("bench").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["bench.key"] == pretraining.key
    assert run.data.params["epochs"] == "2"
    for tag, values in expected(root, pretraining.key).items():
        found = sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, tag))
        assert found == values


def test_the_keys_know_nothing_of_loggers(told: tuple[Path, Pretraining]) -> None:
    root, _ = told
    plan = make_plan(parse_study(STUDY, "test"), root)
    present = Fragments(root, "rows").keys()
    assert [item.label for item in plan.pretrainings if not item.missing(present)] == ["simclr seed 0"]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A module in place of wandb, that keeps what it is told."""
    told: list[object] = []
    run = SimpleNamespace(
        define_metric=lambda name, step_metric: told.append((name, step_metric)),
        log=told.append,
        finish=lambda: told.append("finished"),
    )
    fake = ModuleType("wandb")
    fake.init = lambda **how: told.append(how) or run
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return told


def test_wandb_is_told_offline_under_the_key(wandb: list[object], tmp_path: Path) -> None:
    with logging_to(["wandb"], tmp_path, "abcdef", PixelsOptions()) as hand_over:
        hand_over([Point("loss/epoch", 0.5, 1)])
    how, axis, number, end = wandb
    assert (how["id"], how["mode"], how["resume"], how["config"]) == ("abcdef", "offline", "allow", {"size": None})
    assert (axis, number, end) == (("*", "step"), {"loss/epoch": 0.5, "step": 1}, "finished")


def test_aim_goes_on_with_its_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[object] = []

    class Run(dict):
        hash = "f00d"

        def __init__(self, run_hash: str | None, repo: str, experiment: str, **quiet: object) -> None:
            opened.append((run_hash, Path(repo).name, experiment))

        def track(self, value: float, *, name: str, step: int) -> None:
            opened.append((name, value, step))

        def close(self) -> None:
            opened.append("closed")

    fake = ModuleType("aim")
    fake.Run, fake.Repo = Run, SimpleNamespace(from_path=lambda path, init: opened.append(("repository", init)))
    monkeypatch.setitem(sys.modules, "aim", fake)
    LOGGERS["aim"].prepare(tmp_path)
    for value in (0.5, 0.4):
        logger = LOGGERS["aim"](Subject(tmp_path, "key", "label", {}))
        logger.log([Point("loss/epoch", value, 1)])
        logger.close()
    first, second = (None, tmp_path.name, "bench"), ("f00d", tmp_path.name, "bench")
    numbers = [("loss/epoch", value, 1) for value in (0.5, 0.4)]
    assert opened == [("repository", True), first, numbers[0], "closed", second, numbers[1], "closed"]


def test_a_logger_that_fails_costs_no_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake = ModuleType("wandb")
    fake.init = lambda **how: (_ for _ in ()).throw(OSError("disk full"))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    with logging_to(["wandb"], tmp_path, "key", PixelsOptions()) as hand_over:
        hand_over([Point("loss/epoch", 0.5, 1)])
    assert "--log wandb: OSError: disk full" in caplog.text


def test_mistakes_are_named_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--log: unknown logger 'tensorbord' .did you mean 'tensorboard'"):
        prepare_loggers(["tensorbord"], tmp_path)
    monkeypatch.setattr(LOGGERS["wandb"], "library", "no_such_library_at_all")
    with pytest.raises(
        UserError, match=r"no_such_library_at_all is not installed; pip install 'pretextbench\[wandb\]'"
    ):
        prepare_loggers(["wandb"], tmp_path)
    result = CliRunner().invoke(app, ["run", "--log", "mlflow", "--cluster", "some.yaml"])
    assert "--log and --cluster" in str(result.exception)
