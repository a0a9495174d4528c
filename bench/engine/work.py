"""What Ray is given to run. Nothing heavy is loaded before a process begins.

So the driver never loads PyTorch, and a process of a trial stands in a second or two. Tune takes a trial away from one
that is still starting when another comes free: were starting as long as a trial, it would start them in vain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.engine.outcome import Outcome
from bench.engine.site import Site
from bench.store.datasets import DataRecord
from bench.study.plan import Pretraining, Search, Unit
from bench.study.spec import Study


def units(site: Site, pretraining: Pretraining, missing: Sequence[Unit]) -> Outcome:
    """`bench.engine.evaluate.run_units`."""
    from bench.engine.evaluate import run_units

    return run_units(site, pretraining, missing)


def trial(
    config: dict[str, Any], *, study: Study, record: DataRecord, site: Site, searches: Mapping[str, Search]
) -> None:
    """`bench.engine.trial.run_trial`."""
    from bench.engine.trial import run_trial

    run_trial(config, study=study, record=record, site=site, searches=searches)
