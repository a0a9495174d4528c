"""What Tune starts for a trial: a process that holds its cores, has it trained, and tells Tune where it stands.

It loads no PyTorch: trials train in the processes that pretrain and evaluate, which have loaded it already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.engine import work
from bench.engine.site import Site
from bench.engine.slot import Slot, Standing
from bench.store.datasets import DataRecord
from bench.study.plan import Search
from bench.study.spec import Study

_WAITER_BYTES = 2**20
_TOGETHER_SECONDS = 5.0  # that the first trial waits for the processes of the others, where it is shorter
_POLL_SECONDS = 0.02

Stretch = Callable[[Slot, Standing | None], Standing]


@dataclass(frozen=True)
class Given:
    """What all trials of a study's searches are given."""

    study: Study
    record: DataRecord
    site: Site
    searches: Mapping[str, Search]
    pool: Any  # the handle of a `Pool`; None where trials train in the process that Tune starts

    def slot(self, config: Mapping[str, Any]) -> Slot:
        """The slot that the searcher proposed."""
        search = self.searches[config["search_key"]]
        return Slot(self.study, self.record, self.site, search, config["number"], config["parameters"])


def trial(config: dict[str, Any], *, given: ray.ObjectRef) -> None:
    """What Tune runs: has a trial trained stretch by stretch, and tells Tune where it stands behind each.

    Args:
        given: of a `Given`.
    """
    from ray import tune

    all_are = _got(given)
    slot, train = all_are.slot(config), work.stretch if all_are.pool is None else _in(all_are.pool)
    standing: Standing | None = None
    while standing is None or standing.state == "running":
        standing = train(slot, standing)
        tune.report(standing.told())


@lru_cache(maxsize=1)
def _got(given: ray.ObjectRef) -> Given:
    found: Given = ray.get(given)
    return found


def trains_in_place(site: Site) -> bool:
    """Whether trials train in the processes that Tune starts for them, or in groups of workers that those start.

    On a GPU they do: Ray ends the process of a task that was given one, and keeps that of an actor.
    """
    return bool(site.resources.gpus_per_worker or site.resources.workers)


def resources(site: Site) -> dict[str, float]:
    """What a process that Tune starts for trials holds, in the words of Tune, while it trains or waits.

    Were the cores held by what it waits for, nothing would keep Tune from starting processes for trials that are over
    by the time they stand.
    """
    asked = site.resources
    if asked.workers:
        # The worker group holds the cores and its driver only waits. A share of a core, however small, would leave too
        # little for a group that needs them all; Tune wants some resource, and an actor never gives it back.
        return {"memory": float(_WAITER_BYTES)}
    return {"CPU": float(asked.cpus_per_worker)} | ({"GPU": asked.gpus_per_worker} if asked.gpus_per_worker else {})


class Pool:
    """Hands stretches of trials to the processes that run tasks, as an actor of the study.

    A task that a process of Tune's asks for itself has the environment that Tune gives its own, and so takes processes
    that no other task takes.
    """

    def __init__(self, stretch: Stretch, waiters: int) -> None:
        """Starts nothing yet.

        Args:
            waiters: processes that Tune will have at once.
        """
        self._task = ray.remote(stretch)
        self._waiters, self._seen = waiters, set[str]()
        self._began = float("inf")

    def run(self, node: str, waiter: str, slot: Slot, before: Standing | None) -> Standing:
        """The stretch, on the cores that the waiter holds on this node; what dies under it is an error here."""
        self._seen.add(waiter)
        self._began = min(self._began, time.monotonic())
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        task = self._task.options(name="run_trial", max_retries=0, num_cpus=0, scheduling_strategy=there)
        found: Standing = ray.get(task.remote(slot, before))
        # Were this waiter free before the others stand, Tune would give it the trial that one of them is started for,
        # end that one, and start another for the next trial, as long as trials are shorter than starting.
        while len(self._seen) < self._waiters and time.monotonic() - self._began < _TOGETHER_SECONDS:
            time.sleep(_POLL_SECONDS)
        return found


def open_pool(site: Site, waiters: int) -> Any:
    """The handle of a pool beside this process; None where trials train in the processes that Tune starts."""
    if trains_in_place(site):
        return None
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    beside = ray.remote(Pool).options(
        num_cpus=0, max_restarts=-1, max_concurrency=waiters + 1, scheduling_strategy=here
    )
    return beside.remote(work.stretch, waiters)


def _in(pool: Any) -> Stretch:
    """Has stretches trained in a pool, on the cores that this process holds."""
    context = ray.get_runtime_context()
    place = context.get_node_id(), context.get_actor_id()

    def train(slot: Slot, before: Standing | None) -> Standing:
        found: Standing = ray.get(pool.run.remote(*place, slot, before))
        return found

    return train
