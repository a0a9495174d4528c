"""The search without a cluster: what is proposed, chosen and pruned depends on a setting's own records alone."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from bench.engine.search import SettingPruner, SettingSearch, _resume, space_of
from bench.engine.site import Site
from bench.store.datasets import DataRecord
from bench.store.trials import read_trials
from bench.study.load import parse_study
from bench.study.plan import Search, TrialRecord, build_plan
from bench.study.spec import Study

RECORD = DataRecord("d", "s", "digits", "f", "p", (8, 8, 1), tuple("0123456789"), (90,) * 10, 900, 200, 400)


def study_of(**search: Any) -> Study:
    return parse_study(
        {
            "study": "s",
            "data": {"name": "digits"},
            "methods": {"mae": {"epochs": 10}},
            "scientific": {"mae.mask_ratio": [0.25, 0.5, 0.75]},
            "nuisance": {"mae.lr": {"loguniform": [1e-4, 1e-1]}, "mae.weight_decay": {"uniform": [0, 0.1]}},
            "search": {"trials": 5, "sampler": "tpe", **search},
            "evaluate": [{"protocol": "linear"}],
        },
        "test",
    )


def objective(mask_ratio: float, lr: float, epoch: int = 10) -> float:
    return round(0.9 - 0.1 * (math.log10(lr) + 2 + mask_ratio) ** 2 - 0.01 * (10 - epoch), 6)


class Driver:
    """Plays Tune: several trials in flight, finishing in an order of its own."""

    def __init__(self, study: Study, root: Path, done: dict[str, list[TrialRecord]], seed: int, stop_after: int = 99):
        self.study, self.order = study, random.Random(seed)
        plan = build_plan(study, RECORD, {key: tuple(records) for key, records in done.items()})
        self.running = {search.key: _resume(study, search) for search in plan.searches if search.missing}
        self.ratio = {search.key: search.setting.axes["mask_ratio"] for search in plan.searches}
        self.told: dict[str, list[TrialRecord]] = {key: list(records) for key, records in done.items()}
        site = Site(root, study.data, study.resources)
        self.searcher = SettingSearch(study, self.running, site, self.on_trial)
        self.pruner = SettingPruner(self.searcher)
        self.left = stop_after

    def on_trial(self, search: Search, record: TrialRecord) -> None:
        self.told.setdefault(search.key, []).append(record)

    def run(self) -> dict[str, list[TrialRecord]]:
        flying: dict[str, dict[str, Any]] = {}
        for number in range(10_000):
            proposal = self.searcher.suggest(f"trial{number}")
            if isinstance(proposal, dict):
                flying[f"trial{number}"] = proposal
            if not flying or self.left == 0:
                break
            if proposal is None or len(flying) == 3:
                name = self.order.choice(sorted(flying))
                self.finish(name, flying.pop(name))
                self.left -= 1
        return self.told

    def finish(self, name: str, proposal: dict[str, Any]) -> None:
        ratio, lr = self.ratio[proposal["search_key"]], proposal["parameters"]["lr"]
        result = {"objective": objective(ratio, lr, 5), "epoch": 5, "state": "running", "seconds": 1.0, "key": "0" * 32}
        trial = type("Trial", (), {"trial_id": name})
        if self.study.search.pruner != "asha" or self.pruner.on_trial_result(None, trial, result) == "CONTINUE":
            result |= {"objective": objective(ratio, lr), "epoch": 10, "state": "complete", "seconds": 2.0}
        self.searcher.on_trial_complete(name, result)


@pytest.mark.parametrize("pruner", ["none", "asha"])
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_records_do_not_depend_on_the_order_of_arrival(tmp_path: Path, sampler: str, pruner: str) -> None:
    study = study_of(sampler=sampler, pruner=pruner, trials=8)
    first = Driver(study, tmp_path, {}, seed=0).run()
    assert [len(records) for records in first.values()] == [8, 8, 8]
    for seed in (1, 2):
        again = Driver(study, tmp_path, {}, seed=seed).run()
        assert {key: again[key] for key in first} == first
    if pruner == "asha":
        assert {record.state for records in first.values() for record in records} == {"complete", "pruned"}


@pytest.mark.parametrize("stop_after", [1, 5, 11])
def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path: Path, stop_after: int) -> None:
    study = study_of()
    whole = Driver(study, tmp_path, {}, seed=0).run()
    half = Driver(study, tmp_path, {}, seed=1, stop_after=stop_after).run()
    assert sum(map(len, half.values())) == stop_after
    assert Driver(study, tmp_path, half, seed=2).run() == whole


def test_settings_never_compete(tmp_path: Path) -> None:
    """A setting that scores worse gets as many full-length trials as the others."""
    told = Driver(study_of(pruner="asha", trials=6), tmp_path, {}, seed=0).run()
    assert {len(records) for records in told.values()} == {6}
    assert all(any(record.state == "complete" for record in records) for records in told.values())


def test_pruned_trials_are_on_record_with_their_curve(tmp_path: Path) -> None:
    Driver(study_of(pruner="asha", trials=8), tmp_path, {}, seed=0).run()
    written = [record for records in read_trials(tmp_path).values() for record in records]
    assert written
    assert {record["state"] for record in written} == {"pruned"}
    assert all(record["curve"][0]["epoch"] == 5 and record["value"] is None for record in written)


def test_the_machines_failure_is_not_on_record(tmp_path: Path) -> None:
    study = study_of()
    driver = Driver(study, tmp_path, {}, seed=0)
    proposal = driver.searcher.suggest("a")
    assert isinstance(proposal, dict)
    driver.searcher.on_trial_complete("a", None, error=True)
    progress = driver.running[proposal["search_key"]]
    assert progress.failure == "the process died"
    assert not progress.open
    assert driver.told.get(proposal["search_key"], []) == []


def test_a_grid_is_walked_in_order(tmp_path: Path) -> None:
    study = study_of(sampler="random").model_copy(
        update={"nuisance": {"mae.lr": study_of().nuisance["mae.lr"]}, "search": study_of(sampler="random").search}
    )
    study = parse_study(study.as_json() | {"search": {"trials": 4, "sampler": "grid"}}, "test")
    told = Driver(study, tmp_path, {}, seed=3).run()
    for records in told.values():
        assert [record.parameters["lr"] for record in records] == [1e-4, 1e-3, 1e-2, 1e-1]


def test_optunas_spelling_of_an_axis() -> None:
    space = space_of(study_of().nuisance)
    assert space["mae.lr"].log  # type: ignore[attr-defined]
    assert not space["mae.weight_decay"].log  # type: ignore[attr-defined]
