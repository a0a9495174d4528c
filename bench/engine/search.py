"""The search: Ray Tune runs the trials, Optuna proposes and prunes them, each scientific setting on its own.

One Tuner serves all settings, with one Optuna study per setting and at most one trial of a setting in flight; a
sampler is seeded by setting and number. What is proposed and pruned therefore depends on a setting's own records alone,
never on which trial arrived first, and a search that was killed goes on as if it had not been.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import optuna
import ray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from bench.engine import waiting
from bench.engine.site import Site
from bench.engine.slot import keep_record, rungs
from bench.seeds import named_seed
from bench.store.artifacts import Artifacts
from bench.store.datasets import DataRecord
from bench.study.axes import Distribution
from bench.study.plan import Search, TrialRecord
from bench.study.spec import Study

STARTUP_TRIALS = 2  # TPE's default of 10 would make a short search pure chance
MAX_FAILURES = 2  # of the machine, per trial

OnTrial = Callable[[Search, TrialRecord], None]


@dataclass
class Progress:
    """One setting's search while it runs: its Optuna study and what is in flight."""

    search: Search
    study: optuna.Study
    live: optuna.Trial | None = None
    failure: str | None = None
    records: list[TrialRecord] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether a trial is left to propose."""
        return self.failure is None and len(self.records) < self.search.trials


def run_searches(
    study: Study, record: DataRecord, site: Site, searches: Sequence[Search], slots: int, on_trial: OnTrial
) -> dict[str, str]:
    """Runs every missing trial; returns the settings whose search lost a trial, each with the reason.

    Args:
        slots: trials that may run at once.
        on_trial: called in this process after each trial whose record is in the store.
    """
    _quiet()
    running = {search.key: _resume(study, search) for search in searches if search.missing}
    left = sum(len(item.search.missing) for item in running.values())
    if left:
        _tune(study, record, site, running, left, slots, on_trial)
    return {item.search.setting.label: item.failure for item in running.values() if item.failure is not None}


def _tune(
    study: Study,
    record: DataRecord,
    site: Site,
    running: dict[str, Progress],
    left: int,
    slots: int,
    on_trial: OnTrial,
) -> None:
    searcher = SettingSearch(study, running, site, on_trial)
    searches = {key: item.search for key, item in running.items()}
    pool = waiting.open_pool(site, min(slots, len(running)))  # one trial of a setting at a time
    given = ray.put(waiting.Given(study, record, site, searches, pool))
    storage = tempfile.mkdtemp(prefix="bench-tune-")  # Tune wants a folder; the records are in the store
    try:
        tune.Tuner(
            tune.with_resources(partial(waiting.trial, given=given), waiting.resources(site)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=SettingPruner(searcher),
                metric="objective",
                mode="max",
                num_samples=left,
                max_concurrent_trials=slots,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=storage,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name in ("ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"ray\..*")


def _resume(study: Study, search: Search) -> Progress:
    """The setting's Optuna study with the records that the store holds put back in."""
    space = space_of(search.setting.nuisances)
    resumed = optuna.create_study(direction="maximize", pruner=_pruner(study, search))
    for record in search.records:
        resumed.add_trial(_frozen(record, space))
    return Progress(search, resumed, records=list(search.records))


def _frozen(record: TrialRecord, space: Mapping[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    complete = record.state == "complete"
    return create_trial(
        params=dict(record.parameters),
        distributions=dict(space),
        value=record.value if complete else None,
        state=TrialState.COMPLETE if complete else TrialState.FAIL,
    )


def space_of(nuisances: Mapping[str, Distribution]) -> dict[str, BaseDistribution]:
    """Optuna's spelling of nuisance axes."""
    return {name: _distribution(distribution) for name, distribution in nuisances.items()}


def _distribution(distribution: Distribution) -> BaseDistribution:
    if distribution.kind == "choice":
        return CategoricalDistribution(distribution.values)
    low, high = distribution.values
    if distribution.kind == "int":
        return IntDistribution(low, high)
    return FloatDistribution(low, high, log=distribution.kind == "loguniform")


def _sampler(study: Study, search: Search, number: int) -> BaseSampler:
    seed = named_seed("sampler", search.key, number) % 2**32
    if study.search.sampler == "tpe":
        return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
    return RandomSampler(seed=seed)


def _pruner(study: Study, search: Search) -> BasePruner:
    if study.search.pruner == "none":
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=rungs(search)[0], reduction_factor=2)


def propose(study: Study, progress: Progress) -> dict[str, Any]:
    """The next trial's parameters: the next grid point, or what the sampler says."""
    number = len(progress.records)
    search = progress.search
    space = space_of(search.setting.nuisances)
    if study.search.sampler == "grid":
        name, distribution = next(iter(search.setting.nuisances.items()))
        progress.study.enqueue_trial({name: distribution.grid(search.trials)[number]})
    progress.study.sampler = _sampler(study, search, number)
    progress.live = progress.study.ask(space)
    return dict(progress.live.params)


class SettingSearch(Searcher):
    """Hands Tune the next trial of the setting that has most left, one in flight for each setting."""

    def __init__(self, study: Study, running: dict[str, Progress], site: Site, on_trial: OnTrial) -> None:
        super().__init__(metric="objective", mode="max")
        self._study = study
        self._running = running
        self._site = site
        self._on_trial = on_trial
        self._keys: dict[str, str] = {}  # Tune's trial id -> search key

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict, **spec: Any) -> bool:
        return True

    def progress(self, trial_id: str) -> Progress:
        return self._running[self._keys[trial_id]]

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        left = [item for item in self._running.values() if item.open]
        if not left:
            return Searcher.FINISHED
        free = [item for item in left if item.live is None]
        if not free:
            return None
        item = min(free, key=lambda progress: len(progress.records))
        self._keys[trial_id] = item.search.key
        parameters = propose(self._study, item)
        return {"search_key": item.search.key, "number": len(item.records), "parameters": parameters}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        item = self.progress(trial_id)
        live, item.live = item.live, None
        if live is None:
            return
        if error or result is None or result["state"] == "failed":
            # Not a property of the setting: nothing is recorded, and the next run tries this slot again.
            item.study.tell(live, state=TrialState.FAIL)
            item.failure = "the process died" if result is None else str(result.get("reason") or "the process died")
            return
        record = self._record(item, live, result)
        complete = record.state == "complete"
        state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(record.state, TrialState.FAIL)
        item.study.tell(live, record.value if complete else None, state=state)
        item.records.append(record)
        self._on_trial(replace(item.search, records=tuple(item.records)), record)

    def _record(self, item: Progress, live: optuna.Trial, result: Mapping[str, Any]) -> TrialRecord:
        """The record as the trial wrote it; a pruned trial could not, so it is written here."""
        state = str(result["state"])
        value = result["objective"] if state == "complete" else None
        record = TrialRecord(len(item.records), live.params, value, state, float(result["seconds"]))
        if state == "running":
            record = TrialRecord(record.number, live.params, None, "pruned", record.seconds)
            curve = sorted(live.study.get_trials()[live.number].intermediate_values.items())
            keep_record(self._site, self._study, item.search, record, curve)
            Artifacts(self._site.root).remove("checkpoints", result["key"])
        return record

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of the search: Tune pickles its searcher for a restore that is not used here."""
        return {"_metric": self._metric, "_mode": self._mode}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the records in the store are the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the records in the store are the state."""


class SettingPruner(FIFOScheduler):
    """Asks the Optuna trial whether its own setting's history says to stop."""

    def __init__(self, searcher: SettingSearch) -> None:
        super().__init__()
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        live = self._searcher.progress(trial.trial_id).live
        if result.get("state") != "running" or live is None:
            return TrialScheduler.CONTINUE
        live.report(result["objective"], result["epoch"])
        return TrialScheduler.STOP if live.should_prune() else TrialScheduler.CONTINUE
