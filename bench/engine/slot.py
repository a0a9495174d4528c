"""A slot of a search: what one trial trains and scores, how far it has come, where it may end, how it is recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.engine.site import Site
from bench.store.datasets import DataRecord
from bench.store.trials import write_trial
from bench.study.plan import Search, TrialRecord
from bench.study.spec import Study


@dataclass(frozen=True)
class Slot:
    """One number of a setting's search, with the nuisances that were proposed for it."""

    study: Study
    record: DataRecord
    site: Site
    search: Search
    number: int
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Standing:
    """Where a trial stands behind a stretch of it: what Tune is told, and what the next stretch goes on from."""

    objective: float
    epoch: int
    state: str  # running, where Tune may end it; complete, diverged, failed
    reason: str | None
    seconds: float  # of all its stretches
    key: str = ""  # of its pretraining: where its checkpoint lies while it is running
    curve: tuple[tuple[float, float], ...] = ()  # epochs and objectives so far

    def told(self) -> dict[str, Any]:
        """What Tune is told; that a trial is done, too: else it asks once more."""
        told = {name: value for name, value in asdict(self).items() if name != "curve"}
        return told | {"done": self.state != "running"}


def rungs(search: Search) -> tuple[int, ...]:
    """Epochs at which a trial may be pruned: half way. (Earlier rungs rank learning rates wrongly.)"""
    epochs = int(getattr(search.setting.options, "epochs", 0))
    return (math.ceil(epochs / 2),) if epochs > 1 else ()


def keep_record(
    site: Site,
    study: Study,
    search: Search,
    record: TrialRecord,
    curve: Sequence[tuple[float, float]],
    reason: str | None = None,
) -> None:
    """Writes the trial's record to the store."""
    gpus = site.resources.gpus_per_worker * max(1, site.resources.workers)
    write_trial(
        site.root,
        search_key=search.key,
        number=record.number,
        method=search.setting.method,
        setting=search.setting.axes,
        parameters=record.parameters,
        objective=study.search.objective,
        state=record.state,
        value=record.value,
        curve=curve,
        reason=reason,
        seconds=record.seconds,
        gpu_seconds=record.seconds * gpus,
    )
