"""A trial in stretches: trained as if it had not stopped at its rung, in the processes that tasks run in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.data.catalog import open_dataset
from bench.data.source import data_key
from bench.engine import waiting
from bench.engine.site import Site
from bench.engine.slot import Slot, Standing
from bench.engine.trial import run_stretch
from bench.store.artifacts import Artifacts
from bench.store.datasets import DataRecord
from bench.store.trials import read_trials
from bench.study.load import parse_study
from bench.study.plan import Search, build_plan
from bench.study.spec import Study
from tests.engine.conftest import ROOT

SPEC: dict[str, Any] = {
    "study": "searched",
    "data": {"name": "digits", "max_train": 200, "max_test": 50},
    "methods": {"simclr": {"encoder": "conv_nano", "epochs": 4, "batch_size": 64}},
    "scientific": {"simclr.temperature": [0.1, 0.5]},
    "nuisance": {"simclr.lr": {"loguniform": [1e-3, 4e-3]}},
    "search": {"trials": 4, "objective": "linear.balanced_accuracy@2"},
    "evaluate": [{"protocol": "linear", "label_budgets": [1], "draws": 1}],
    "reference": [],
}


def prepared(root: Path, **changes: Any) -> tuple[Study, DataRecord, Site, tuple[Search, ...]]:
    study = parse_study(SPEC | changes, "test")
    open_dataset(study.data, root)
    record = DataRecord.load(root, data_key(study.data))
    assert record is not None
    return study, record, Site(root, study.data, study.resources), build_plan(study, record, {}).searches


def slot_of(root: Path, pruner: str = "none", **parameters: float) -> Slot:
    study, record, site, searches = prepared(root, search=SPEC["search"] | {"pruner": pruner})
    return Slot(study, record, site, searches[0], 0, {"lr": 2e-3} | parameters)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def followed(root: Path, pruner: str) -> list[Standing]:
    """Where the trial stands behind each stretch, nobody ending it."""
    slot, found = slot_of(root, pruner), []
    while not found or found[-1].state == "running":
        found.append(run_stretch(slot, found[-1] if found else None))
        kept = Artifacts(root).path("checkpoints", found[-1].key).exists()
        assert kept == (found[-1].state == "running")
    return found


def test_stopping_at_a_rung_changes_nothing(tmp_path: Path) -> None:
    (whole,) = followed(tmp_path / "whole", "none")
    rung, last = followed(tmp_path / "parts", "asha")
    assert (rung.state, rung.epoch, rung.curve) == ("running", 2, ((2, rung.objective),))
    assert (last.state, last.epoch, last.objective) == ("complete", 4, whole.objective)
    assert last.curve == (*rung.curve, (4, last.objective))
    assert last.seconds > rung.seconds > 0
    (records,) = read_trials(tmp_path / "parts").values()
    assert [(point["epoch"], point["value"]) for point in records[0]["curve"]] == list(last.curve)


def test_a_rung_whose_checkpoint_is_lost_is_not_stopped_at_again(tmp_path: Path) -> None:
    slot = slot_of(tmp_path, "asha")
    rung = run_stretch(slot, None)
    Artifacts(tmp_path).remove("checkpoints", rung.key)
    assert run_stretch(slot, rung).objective == followed(tmp_path / "again", "none")[-1].objective


def test_an_error_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    found = run_stretch(slot_of(tmp_path, nonsense=1.0), None)
    assert found.state == "failed"
    assert found.reason
    assert "nonsense" in found.reason
    assert read_trials(tmp_path) == {}


def test_trials_run_as_tasks_and_are_ended_at_their_rung(tmp_path: Path) -> None:
    prepared(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.climbing", str(tmp_path)],
        capture_output=True, text=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["lost"] == {}
    assert said["states"] == [["complete", "pruned", "pruned", "pruned"]] * 2
    # Those that the driver ended have left no checkpoint; the others would have removed theirs themselves.
    assert [path.name for path in Artifacts(tmp_path).path("checkpoints", "0").parent.iterdir()] == [f"{0:032d}"]
    ran = json.loads((tmp_path / "said.json").read_text())
    assert ran["fork"] is None, "a task has the environment of a process of Tune's, and a process to itself"
    assert ran["resources"] == {}, "the cores are held by the process that waits"


def test_what_a_process_of_tunes_holds(tmp_path: Path) -> None:
    assert waiting.resources(Site(tmp_path, *of_resources())) == {"CPU": 1.0}
    grouped = Site(tmp_path, *of_resources(workers=2))
    assert set(waiting.resources(grouped)) == {"memory"}
    assert waiting.open_pool(grouped, 2) is None
    on_gpu = Site(tmp_path, *of_resources(gpus_per_worker=1))
    assert waiting.resources(on_gpu) == {"CPU": 1.0, "GPU": 1.0}
    assert waiting.open_pool(on_gpu, 2) is None


def of_resources(**changes: Any) -> tuple[Any, Any]:
    study = parse_study(SPEC | {"resources": {"workers": 0, "cpus_per_worker": 1, **changes}}, "test")
    return study.data, study.resources
