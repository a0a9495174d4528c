"""Makespan of a study on N nodes: measured tasks, replayed in virtual time through what hands out real ones.

Real are the plan, `SettingSearch` (which trial is next, when a setting's search ends), the pretrainings behind a
search and `Tasks` (what is handed out, when); replaced is Ray under them, by nodes of one slot each and a clock that
jumps from one end to the next. A node that ends a trial takes the next trial before a task, as reused actors do.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import bench.engine.tasks
from bench.engine.outcome import Outcome
from bench.engine.search import SettingSearch, _resume
from bench.engine.site import Site
from bench.store.datasets import DataRecord
from bench.study.load import parse_study
from bench.study.plan import Plan, Search, TrialRecord, build_plan, pretrainings_of

RECORD = DataRecord("d", "s", "digits", "f", "p", (8, 8, 1), tuple("0123456789"), (90,) * 10, 900, 200, 400)


@dataclass(frozen=True)
class Durations:
    """Seconds that trials and tasks (a pretraining with its judging) took where they were measured."""

    trials: np.ndarray
    tasks: np.ndarray

    @staticmethod
    def of(results: Path) -> Durations:
        """Of a bundle or a copy of a study's tables: `rows.parquet` and `trials.parquet`."""
        rows = pl.read_parquet(results / "rows.parquet")
        judged = rows.group_by("pretrain_key", maintain_order=True).agg(
            pl.col("pretrain_seconds").first().fill_null(0.0) + pl.col("evaluate_seconds").sum()
        )
        trials = pl.read_parquet(results / "trials.parquet")["seconds"]
        return Durations(trials.to_numpy(), judged["pretrain_seconds"].to_numpy())


def plan_of(settings: int, trials: int, seeds: int) -> Plan:
    study = parse_study(
        {
            "study": "replayed",
            "data": {"name": "digits"},
            "methods": {"mae": {"epochs": 1}},
            "scientific": {"mae.mask_ratio": [round(0.1 + 0.8 * number / settings, 4) for number in range(settings)]},
            "nuisance": {"mae.lr": {"loguniform": [1e-4, 1e-1]}},
            "search": {"trials": trials, "sampler": "random", "pruner": "none"},
            "seeds": seeds,
            "evaluate": [{"protocol": "linear"}],
        },
        "benchmark",
    )
    return build_plan(study, RECORD, {})


class Nodes:
    """What `Tasks` asks of Ray (`remote`, `options`, `get`), and the clock. A job: a trial's name, a task's number."""

    def __init__(self, nodes: int, handing: float) -> None:
        self.free, self.handing, self.now, self.busy = nodes, handing, 0.0, 0.0
        self.queue: deque[int] = deque()
        self._driver = 0.0  # when it is done handing out what it did so far
        self._running: list[tuple[float, int, Any]] = []
        self._order = itertools.count()

    def remote(self, *task: Any) -> Any:
        """As `ray.remote(function)`, this; as `handle.remote(site, pretraining, units)`, a task in the queue."""
        if len(task) == 1:
            return self
        number = next(self._order)
        self.queue.append(number)
        return number

    def options(self, **asked: Any) -> Nodes:
        return self

    def get(self, reference: int) -> Outcome:
        return Outcome(str(reference), "ok", None, 0, 0.0)

    def start(self, job: Any, seconds: float) -> None:
        self._driver = max(self._driver, self.now) + self.handing
        heapq.heappush(self._running, (self._driver + seconds, next(self._order), job))
        self.free -= 1
        self.busy += seconds

    def ended(self) -> Any:
        """The job that ends next; None when none runs. The clock stands at its end then."""
        if not self._running:
            return None
        self.now, _, job = heapq.heappop(self._running)
        self.free += 1
        return job


@contextmanager
def _in_place_of_ray(nodes: Nodes) -> Iterator[None]:
    ray, bench.engine.tasks.ray = bench.engine.tasks.ray, nodes
    try:
        yield
    finally:
        bench.engine.tasks.ray = ray


def replay(plan: Plan, durations: Durations, nodes: int, handing: float, seed: int = 0) -> tuple[float, float]:
    """Wall seconds of the study from its first trial to its last row, and the seconds of work in it.

    Args:
        handing: seconds the driver takes to hand out a trial or a task.
        seed: of the durations, which are drawn from those measured, the same for any number of nodes.

    Raises:
        RuntimeError: a trial or a task did not come back.
    """
    numbers = np.random.default_rng(seed)
    settings, study = len(plan.searches), plan.study
    of_trials = {
        search.key: iter(row)
        for search, row in zip(
            plan.searches, numbers.choice(durations.trials, (settings, study.search.trials)), strict=True
        )
    }
    of_tasks = iter(numbers.choice(durations.tasks, settings * study.seeds))
    site, cluster, received = Site(Path(), study.data, study.resources), Nodes(nodes, handing), []
    with _in_place_of_ray(cluster):
        tasks = bench.engine.tasks.Tasks(
            site, received.append, nodes
        )  # its thread, which waits for Ray, is not started

        def submit(search: Search, record: TrialRecord) -> None:
            if search.chosen is not None:
                for pretraining in pretrainings_of(study, plan.record, search.setting, search.chosen, search.seconds):
                    tasks.submit(pretraining, pretraining.units)

        running = {search.key: _resume(study, search) for search in plan.searches}
        searcher, trials = SettingSearch(study, running, site, submit), itertools.count()
        while True:
            while cluster.free:
                name = f"trial {next(trials)}"
                asked = searcher.suggest(name)
                if not isinstance(asked, dict):  # none that may start now, or none left
                    break
                cluster.start(name, float(next(of_trials[asked["search_key"]])))
            while cluster.free and cluster.queue:
                cluster.start(cluster.queue.popleft(), float(next(of_tasks)))
            match cluster.ended():
                case None:
                    break
                case str(name):
                    searcher.on_trial_complete(name, {"state": "complete", "objective": 0.5, "seconds": 0.0})
                case reference:
                    tasks._take(reference)
    if len(received) != settings * study.seeds:
        raise RuntimeError(f"{len(received)} of {settings * study.seeds} tasks came back")
    return cluster.now, cluster.busy
