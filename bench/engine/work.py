"""What Ray is given to run. Nothing heavy is loaded before a process begins, so that the driver never loads PyTorch."""

from __future__ import annotations

import os
from collections.abc import Sequence

from bench.engine.outcome import Outcome
from bench.engine.site import Site
from bench.engine.slot import Slot, Standing
from bench.study.plan import Pretraining, Unit


def units(site: Site, pretraining: Pretraining, missing: Sequence[Unit]) -> Outcome:
    """`bench.engine.evaluate.run_units`."""
    from bench.engine.evaluate import run_units

    return run_units(site, pretraining, missing)


def stretch(slot: Slot, before: Standing | None) -> Standing:
    """`bench.engine.trial.run_stretch`."""
    # Read by libraries when they are loaded, for good; to a task that holds no core itself Ray says 1.
    os.environ["OMP_NUM_THREADS"] = str(slot.site.resources.cpus_per_worker)
    from bench.engine.trial import run_stretch

    return run_stretch(slot, before)


def resources(site: Site) -> dict[str, float]:
    """What a task holds while it runs, in the words of `ray.remote`."""
    asked = site.resources
    if asked.workers:  # the worker group holds the cores while it trains; the evaluation after it is short
        return {"num_cpus": 0}
    return {"num_cpus": asked.cpus_per_worker} | ({"num_gpus": asked.gpus_per_worker} if asked.gpus_per_worker else {})
