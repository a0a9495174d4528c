"""A trial in stretches: trained as if it had not stopped at its rung, in the processes that tasks run in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from bench.data.catalog import open_dataset
from bench.data.source import data_key
from bench.engine import work
from bench.engine.search import run_searches
from bench.engine.site import Site
from bench.engine.trial import run_stretch
from bench.engine.trial_record import Standing
from bench.store.artifacts import Artifacts
from bench.store.datasets import DataRecord
from bench.store.trials import read_trials
from bench.study.load import parse_study
from bench.study.plan import Search, TrialRecord, build_plan
from bench.study.spec import Study

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


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def followed(root: Path, pruner: str, lr: float = 2e-3) -> list[Standing]:
    """Where the trial stands behind each stretch, nobody ending it."""
    study, record, site, searches = prepared(root, search=SPEC["search"] | {"pruner": pruner})
    found: list[Standing] = []
    while not found or found[-1].state == "running":
        before = found[-1] if found else None
        found.append(run_stretch(study, record, site, searches[0], 0, {"lr": lr}, before))
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
    study, record, site, searches = prepared(tmp_path, search=SPEC["search"] | {"pruner": "asha"})
    rung = run_stretch(study, record, site, searches[0], 0, {"lr": 2e-3}, None)
    Artifacts(tmp_path).remove("checkpoints", rung.key)
    last = run_stretch(study, record, site, searches[0], 0, {"lr": 2e-3}, rung)
    assert last.objective == followed(tmp_path / "again", "none")[-1].objective


def test_an_error_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    study, record, site, searches = prepared(tmp_path)
    found = run_stretch(study, record, site, searches[0], 0, {"lr": 2e-3, "nonsense": 1.0}, None)
    assert found.state == "failed"
    assert found.reason
    assert "nonsense" in found.reason
    assert read_trials(tmp_path) == {}


@pytest.fixture(scope="module")
def _cluster() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    yield
    ray.shutdown()


def climbing(
    study: Study,
    record: DataRecord,
    site: Site,
    search: Search,
    number: int,
    parameters: dict[str, Any],
    before: Standing | None,
) -> Standing:
    """A trial that loads nothing; later ones are worse, and say in which process and with what they ran."""
    import os

    said = f"{os.getpid()} {os.environ.get('PL_DISABLE_FORK')} {ray.get_runtime_context().get_assigned_resources()}"
    key = f"{number:032d}"
    Artifacts(site.root).path("checkpoints", key).mkdir(parents=True, exist_ok=True)
    state = "running" if before is None else "complete"
    if before is not None and number == 0:
        (site.root / "said.txt").write_text(said)
    return Standing(-float(number), 2 if before is None else 4, state, None, 1.0, key)


@pytest.mark.usefixtures("_cluster")
def test_trials_run_as_tasks_and_are_ended_at_their_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, record, site, searches = prepared(tmp_path, search=SPEC["search"] | {"pruner": "asha"})
    monkeypatch.setattr(work, "stretch", climbing)
    told: dict[str, list[TrialRecord]] = {}
    lost = run_searches(
        study, record, site, searches, 2, lambda search, made: told.setdefault(search.key, []).append(made)
    )
    assert lost == {}
    assert {tuple(made.state for made in records) for records in told.values()} == {("complete", *["pruned"] * 3)}
    # Only the driver writes here; the checkpoints of those that it ended are gone, the complete one's is the task's.
    assert [path.name for path in Artifacts(tmp_path).path("checkpoints", "0").parent.iterdir()] == [f"{0:032d}"]
    _, fork, resources = (tmp_path / "said.txt").read_text().split(" ", 2)
    assert fork == "None", "a task has the environment of a process of Tune's, and a process to itself"
    assert resources == "{}", "the cores are held by the process that waits"


def test_what_a_process_of_tunes_holds(tmp_path: Path) -> None:
    assert work.trial_resources(Site(tmp_path, *of_resources())) == {"CPU": 1.0}
    grouped = Site(tmp_path, *of_resources(workers=2))
    assert set(work.trial_resources(grouped)) == {"memory"}
    assert work.open_pool(grouped, 2) is None
    on_gpu = Site(tmp_path, *of_resources(gpus_per_worker=1))
    assert work.trial_resources(on_gpu) == {"CPU": 1.0, "GPU": 1.0}
    assert work.open_pool(on_gpu, 2) is None


def of_resources(**changes: Any) -> tuple[Any, Any]:
    study = parse_study(SPEC | {"resources": {"workers": 0, "cpus_per_worker": 1, **changes}}, "test")
    return study.data, study.resources
