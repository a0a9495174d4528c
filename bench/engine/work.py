"""What Ray is given to run. Nothing heavy is loaded before a process begins.

So the driver never loads PyTorch, and neither does a process that Tune starts for a trial: trials train in the
processes that pretrain and evaluate, which have loaded it already. Tune also takes a trial away from a process that is
still starting when another comes free: were starting as long as a trial, it would start them in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.engine.outcome import Outcome
from bench.engine.site import Site
from bench.engine.trial_record import Standing
from bench.store.datasets import DataRecord
from bench.study.plan import Pretraining, Search, Unit
from bench.study.spec import Study

_WAITER_BYTES = 2**20

Stretch = Callable[[Study, DataRecord, Site, Search, int, Mapping[str, Any], Standing | None], Standing]


def units(site: Site, pretraining: Pretraining, missing: Sequence[Unit]) -> Outcome:
    """`bench.engine.evaluate.run_units`."""
    from bench.engine.evaluate import run_units

    return run_units(site, pretraining, missing)


def stretch(
    study: Study,
    record: DataRecord,
    site: Site,
    search: Search,
    number: int,
    parameters: Mapping[str, Any],
    before: Standing | None,
) -> Standing:
    """`bench.engine.trial.run_stretch`."""
    from bench.engine.trial import run_stretch

    return run_stretch(study, record, site, search, number, parameters, before)


def trial(
    config: dict[str, Any],
    *,
    study: Study,
    record: DataRecord,
    site: Site,
    searches: Mapping[str, Search],
    pool: Any,
) -> None:
    """What Tune runs: has a trial trained stretch by stretch, and tells Tune where it stands behind each.

    Args:
        pool: the handle of a `Pool`; None where trials train in the process that Tune starts.
    """
    from ray import tune

    search = searches[config["search_key"]]
    train: Stretch = stretch if pool is None else lambda *given: ray.get(pool.run.remote(*given))
    standing: Standing | None = None
    while standing is None or standing.state == "running":
        standing = train(study, record, site, search, config["number"], config["parameters"], standing)
        tune.report(standing.told())


def trains_in_place(site: Site) -> bool:
    """Whether trials train in the processes that Tune starts for them.

    On a GPU: Ray ends the process of a task that was given one, and keeps that of an actor.
    """
    return bool(site.resources.gpus_per_worker) and not site.resources.workers


def task_resources(site: Site) -> dict[str, float]:
    """What a task holds while it runs, in the words of `ray.remote`."""
    asked = site.resources
    if asked.workers:  # the worker group holds the cores while it trains; the evaluation after it is short
        return {"num_cpus": 0}
    return {"num_cpus": asked.cpus_per_worker} | ({"num_gpus": asked.gpus_per_worker} if asked.gpus_per_worker else {})


def trial_resources(site: Site) -> dict[str, float]:
    """What a process that Tune starts for trials holds, in the words of Tune."""
    if trains_in_place(site):
        return {"CPU": float(site.resources.cpus_per_worker), "GPU": site.resources.gpus_per_worker}
    # It only waits. A share of a core, however small, would leave too little for work that needs them all; Tune wants
    # some resource, and an actor never gives it back.
    return {"memory": float(_WAITER_BYTES)}


class Pool:
    """Hands stretches of trials to the processes that run tasks, as an actor of the study.

    A task that a process of Tune's asks for itself has the environment that Tune gives its own, and so takes processes
    that no other task takes.
    """

    def __init__(self, stretch: Stretch, resources: Mapping[str, float]) -> None:
        self._task = ray.remote(stretch).options(name="run_trial", max_retries=0, **resources)

    async def run(self, *given: Any) -> Standing:
        """The stretch; a process or a node that dies under it is an error here."""
        found: Standing = await self._task.remote(*given)
        return found


def open_pool(site: Site) -> Any:
    """The handle of a pool beside this process; None where trials train in the processes that Tune starts."""
    if trains_in_place(site):
        return None
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    beside = ray.remote(Pool).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here)
    return beside.remote(stretch, task_resources(site))
