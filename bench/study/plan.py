"""The plan: every search, pretraining, unit and row of a study by its key, less what the store already holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.store.datasets import DataRecord
from bench.store.keys import canonical_json, content_key, key_of_texts
from bench.study import versions
from bench.study.budgets import check_budgets, check_segmentation
from bench.study.encoders import is_timm
from bench.study.expand import Setting, expand, judges, layers_of
from bench.study.few_shot_fits import check_few_shot
from bench.study.fits import check_finetuning, check_fits
from bench.study.methods import MethodOptions, weights_digest
from bench.study.methods.partner import PartnerOptions
from bench.study.partners import cells_of_partner, check_partner_files, partner_settings
from bench.study.protocols import PROTOCOLS, Cell, FusionOptions, ProtocolOptions, cells
from bench.study.spec import Study


@dataclass(frozen=True)
class TrialRecord:
    """What the store says of one finished trial of a search."""

    number: int
    parameters: Mapping[str, Any]
    value: float | None
    state: str
    seconds: float


@dataclass(frozen=True)
class Search:
    """The tuning of one setting's nuisances: a fixed number of slots, each with its own record."""

    key: str
    setting: Setting
    trials: int
    records: tuple[TrialRecord, ...]

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the slots without a record."""
        done = {record.number for record in self.records}
        return tuple(number for number in range(self.trials) if number not in done)

    @property
    def chosen(self) -> Mapping[str, Any] | None:
        """The best trial's values once every slot has a record, ties to the lower number; None before.

        Where every trial diverged the first one's values are taken, so that the reported seeds show it.
        """
        if self.missing:
            return None
        complete = [record for record in self.records if record.state == "complete" and record.value is not None]
        if not complete:
            return min(self.records, key=lambda record: record.number).parameters
        return max(complete, key=lambda record: (record.value, -record.number)).parameters

    @property
    def seconds(self) -> float:
        """Wall seconds of all trials, losing and pruned ones included."""
        return sum(record.seconds for record in self.records)


@dataclass(frozen=True)
class Unit:
    """One pretraining under one protocol entry: what one task evaluates."""

    key: str
    protocol: ProtocolOptions
    cells: Mapping[str, Cell]  # by row key


@dataclass(frozen=True)
class Pretraining:
    """One setting, its nuisances chosen, one reported seed (None for entrants without one)."""

    key: str
    setting: Setting
    options: MethodOptions
    seed: int | None
    search_seconds: float
    units: tuple[Unit, ...]

    def missing(self, present: set[str]) -> tuple[Unit, ...]:
        """The units with only the cells whose rows the store does not hold."""
        left = (
            Unit(unit.key, unit.protocol, {key: cell for key, cell in unit.cells.items() if key not in present})
            for unit in self.units
        )
        return tuple(unit for unit in left if unit.cells)

    @property
    def label(self) -> str:
        return self.setting.label if self.seed is None else f"{self.setting.label} seed {self.seed}"


@dataclass(frozen=True)
class SettingPlan:
    """A setting with its search, if it has nuisances, and its pretrainings, once the search is finished."""

    setting: Setting
    search: Search | None
    pretrainings: tuple[Pretraining, ...]


@dataclass(frozen=True)
class Plan:
    """Everything a study asks for, by key."""

    study: Study
    record: DataRecord
    settings: tuple[SettingPlan, ...]

    @property
    def pretrainings(self) -> tuple[Pretraining, ...]:
        return tuple(pretraining for item in self.settings for pretraining in item.pretrainings)

    @property
    def searches(self) -> tuple[Search, ...]:
        return tuple(item.search for item in self.settings if item.search is not None)

    def row_keys(self) -> list[str]:
        """Every row known so far; those behind an unfinished search are not."""
        return [key for pretraining in self.pretrainings for unit in pretraining.units for key in unit.cells]


def study_key(study: Study) -> str:
    """The key of the question itself: the resolved study without what changes no number."""
    value = study.as_json()
    value.pop("description")
    value["resources"] = {"cpus_per_worker": study.resources.cpus_per_worker}
    return content_key("study", **value)


class _Asked(NamedTuple):
    """What an entry asks of a setting, spelled once for all seeds: see `key_of_texts`."""

    entry: ProtocolOptions
    texts: dict[str, str]  # of the unit's key
    cells: dict[Cell, str]  # of the rows' keys


def build_plan(study: Study, record: DataRecord, trials: Mapping[str, tuple[TrialRecord, ...]]) -> Plan:
    """Expands the study over this data set.

    Args:
        trials: records of finished trials by search key.

    Raises:
        UserError: a label budget is larger than the smallest class of the train pool.
    """
    check_partner_files(study)
    settings = [*expand(study), *partner_settings(study)]
    check_budgets(study, record)
    check_segmentation(study, settings, record)
    check_few_shot(study, settings, record)
    check_finetuning(study, settings, record)
    for setting in settings:
        check_fits(setting, record)
    return Plan(study, record, tuple(_plan_setting(study, record, setting, trials) for setting in settings))


def _plan_setting(
    study: Study, record: DataRecord, setting: Setting, trials: Mapping[str, tuple[TrialRecord, ...]]
) -> SettingPlan:
    if not setting.nuisances:
        return SettingPlan(setting, None, pretrainings_of(study, record, setting, {}, 0.0))
    key = search_key(study, record, setting)
    search = Search(key, setting, trials_of(study, setting), trials.get(key, ()))
    chosen = search.chosen
    done = () if chosen is None else pretrainings_of(study, record, setting, chosen, search.seconds)
    return SettingPlan(setting, search, done)


def trials_of(study: Study, setting: Setting) -> int:
    """Trials of the setting's search: a grid over choices has as many as there are choices."""
    if study.search.sampler != "grid":
        return study.search.trials
    return len(next(iter(setting.nuisances.values())).grid(study.search.trials))


def search_key(study: Study, record: DataRecord, setting: Setting) -> str:
    """The content key of a setting's search."""
    objective = study.search.parsed_objective
    return content_key(
        "search",
        **_inputs(study, record, setting),
        options=setting.fixed_options(),
        nuisances={field: distribution.as_json() for field, distribution in setting.nuisances.items()},
        search=study.search.model_dump(mode="json"),
        judge=PROTOCOLS[objective.protocol].version,
    )


def pretrain_key(
    study: Study, record: DataRecord, setting: Setting, options: MethodOptions, seed: int | str | None
) -> str:
    """The content key of a pretraining; `seed` is a reported number, or names a search's."""
    shared = _pretraining_texts(study, record, setting, options)
    return key_of_texts("pretraining", seed=canonical_json(seed), **shared)


def _pretraining_texts(study: Study, record: DataRecord, setting: Setting, options: MethodOptions) -> dict[str, str]:
    """What the keys of all seeds of a pretraining share, as canonical JSON."""
    parts = {**_inputs(study, record, setting), "options": options.model_dump(mode="json")}
    return {name: canonical_json(value) for name, value in parts.items()}


def _inputs(study: Study, record: DataRecord, setting: Setting) -> dict[str, Any]:
    shared = {"method": type(setting.options).version, "data": versions.DATA}
    if is_timm(setting.options.encoder_name):
        shared["timm"] = versions.TIMM
    if setting.options.trains:
        shared["training"] = versions.TRAINING
        if getattr(setting.options, "precision", None) == "bf16":
            shared["bf16"] = versions.BF16
    return {
        "method": setting.method,
        "data": record.fingerprint,
        "split": record.split_digest,
        "versions": shared,
        "threads": study.resources.cpus_per_worker,
        "weights": weights_digest(setting.options),
    }


def pretrainings_of(
    study: Study, record: DataRecord, setting: Setting, chosen: Mapping[str, Any], search_seconds: float
) -> tuple[Pretraining, ...]:
    """The reported pretrainings of a setting whose nuisances are chosen."""
    options = setting.with_nuisances(chosen)
    seeds: list[int | None] = list(range(study.seeds)) if options.seeded else [None]
    shared = _pretraining_texts(study, record, setting, options)
    asked = [
        _Asked(
            entry, _unit_texts(entry), {cell: canonical_json(list(cell)) for cell in _cells(study, record, setting, at)}
        )
        for at, entry in enumerate(study.evaluate)
        if judges(entry, setting)
    ]
    made = []
    for seed in seeds:
        key = key_of_texts("pretraining", seed=canonical_json(seed), **shared)
        made.append(Pretraining(key, setting, options, seed, search_seconds, _units(asked, key)))
    return tuple(made)


def _units(asked: Sequence[_Asked], pretrain: str) -> tuple[Unit, ...]:
    """A unit for every entry that judges the setting; entries that only ask for other cells share one."""
    units: dict[str, Unit] = {}
    for entry, texts, cell_texts in asked:
        key = key_of_texts("unit", pretraining=canonical_json(pretrain), **texts)
        unit = canonical_json(key)
        rows = {key_of_texts("row", unit=unit, cell=text): cell for cell, text in cell_texts.items()}
        units[key] = Unit(key, entry, {**units[key].cells, **rows} if key in units else rows)
    return tuple(units.values())


def _unit_texts(entry: ProtocolOptions) -> dict[str, str]:
    """What the keys of all units of an entry share, as canonical JSON."""
    parts = {
        "protocol": entry.name,
        "options": entry.value_options(),
        "partner": weights_digest(entry.partner_options()) if isinstance(entry, FusionOptions) else None,
        "versions": {entry.name: type(entry).version, "features": versions.FEATURES},
    }
    return {name: canonical_json(value) for name, value in parts.items()}


def _cells(study: Study, record: DataRecord, setting: Setting, index: int) -> list[Cell]:
    entry = study.evaluate[index]
    if isinstance(setting.options, PartnerOptions):
        return cells_of_partner(entry, expand(study), record, f"evaluate.{index}")
    return cells(entry, layers_of(entry, setting))
