"""A study's searches as an Optuna storage, which `optuna.load_study` and optuna-dashboard open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from bench.errors import UserError
from bench.store.files import replacing
from bench.study.axes import Distribution, parse_distribution

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

FILE = "optuna.journal"


def write_storage(trials: pl.DataFrame, spec: Mapping[str, Any], to: Path) -> Path:
    """Writes a journal file with one Optuna study for each setting, and all trials of its search in it.

    A diverged trial is a failed one there; the objective at each rung are its intermediate values.

    Args:
        trials: of one study, all columns of the schema.
        spec: of that study, as its manifest has it: it says what the nuisances were drawn from.
        to: a folder that exists.

    Raises:
        UserError: the study has no trials.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if trials.is_empty():
        raise UserError("--format optuna: this study has no trials; it names no nuisance axis, or none has run yet")
    shown = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with replacing(to / FILE) as path:
            storage = JournalStorage(JournalFileBackend(str(path)))
            for records in _searches(trials):
                first = records[0]
                study = optuna.create_study(storage=storage, study_name=study_name(first), direction="maximize")
                for name in ("objective", "search_key"):
                    study.set_user_attr(name, first[name])
                study.set_user_attr("setting", json.loads(first["setting"]))
                space = _space(records, spec)
                study.add_trials([_trial(record, space) for record in records])
    finally:
        optuna.logging.set_verbosity(shown)
    return to / FILE


def study_name(record: Mapping[str, Any]) -> str:
    """The name of the Optuna study that a trial's record belongs to: method, setting and search key."""
    axes = " ".join(f"{axis}={value}" for axis, value in json.loads(record["setting"]).items())
    return " ".join(part for part in (record["method"], axes, record["search_key"][:12]) if part)


def _searches(trials: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
    for search in trials.sort("method", "setting", "search_key", "number").partition_by(
        "search_key", maintain_order=True
    ):
        yield [record | {"parameters": json.loads(record["parameters"])} for record in search.to_dicts()]


def _space(records: list[dict[str, Any]], spec: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    space = {}
    for name in records[0]["parameters"]:
        axis = f"{records[0]['method']}.{name}"
        tried = [record["parameters"][name] for record in records]
        space[name] = _distribution(parse_distribution(axis, spec["nuisance"][axis]), tried)
    return space


def _distribution(distribution: Distribution, tried: list[Any]) -> BaseDistribution:
    """Optuna's spelling. A grid's values are rounded, so an end of the range may lie a digit beyond."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if distribution.kind == "choice":
        return CategoricalDistribution(distribution.values)
    low, high = min(distribution.values[0], *tried), max(distribution.values[1], *tried)
    if distribution.kind == "int":
        return IntDistribution(low, high)
    return FloatDistribution(low, high, log=distribution.kind == "loguniform")


def _trial(record: Mapping[str, Any], space: Mapping[str, BaseDistribution]) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    trial = create_trial(
        state=states.get(record["state"], TrialState.FAIL),
        value=record["value"] if record["state"] == "complete" else None,
        params=record["parameters"],
        distributions=dict(space),
        intermediate_values={int(point["epoch"]): point["value"] for point in record["curve"] or ()},
        user_attrs={name: record[name] for name in ("number", "state", "reason", "seconds", "gpu_seconds", "host")},
    )
    trial.datetime_complete = record["finished"].replace(tzinfo=None)
    trial.datetime_start = trial.datetime_complete - timedelta(seconds=record["seconds"])
    return trial
