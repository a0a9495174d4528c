"""Which pretrainings of a study layer drift compares: clean, permuted, and every noisy setting in between."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import UserError, unknown
from bench.results.entrants import axes_text
from bench.results.opening import NoResultsError, Study, find_study, read_rows
from bench.results.sweep import value_text

LEAST = 4  # pretrainings of each kind, as in bench.protocols.cka
CLEAN: Mapping[str, str] = {"rate": "0"}
PERMUTED: Mapping[str, str] = {"noise": "permuted", "rate": "1"}
REALISATION = "noise_seed"  # pretrainings that differ in it are of one setting
_COLUMNS = ("pretrain_key", "method", "encoder", "axes", "options", "status", "details")

Selector = Mapping[str, str]  # options of the method and the values they must have


@dataclass(frozen=True)
class NoisySetting:
    """One noisy setting: its name, its pretrainings, and the noise that was realised."""

    name: str
    keys: tuple[str, ...]
    information_loss: float | None
    realised_noise_rate: float | None


@dataclass(frozen=True)
class DriftRuns:
    """Pretrainings by kind, keys of the store."""

    study: Study
    method: str
    clean: tuple[str, ...]
    permuted: tuple[str, ...]
    noisy: tuple[NoisySetting, ...]


def drift_runs(
    root: Path,
    study: str | None = None,
    method: str = "noisy_labels",
    *,
    clean: Selector = CLEAN,
    permuted: Selector = PERMUTED,
    noisy: Selector | None = None,
) -> DriftRuns:
    """The pretrainings of a study by kind. Every setting that is neither clean nor permuted is a noisy one.

    Args:
        root: the results root.
        study: name or key; None means the newest.
        method: whose pretrainings.
        clean, permuted: options that mark the two ends.
        noisy: options that a noisy setting must have; all are compared when absent.

    Raises:
        NoResultsError: no study is there, or none of its rows.
        UserError: an unknown study, method or option; pretrainings of several networks; fewer than four of a kind.
    """
    found = find_study(root, study)
    if found is None:
        raise NoResultsError(f"--results {root}: no study here; run one first, or name the folder it wrote to")
    rows = read_rows(root, found, _COLUMNS).filter(pl.col("status") == "ok")
    if method not in rows["method"].unique():
        raise unknown("method of the study", method, rows["method"].unique().sort(), "--method")
    runs = _runs(rows.filter(pl.col("method") == method))
    for selector in (clean, permuted, noisy or {}):
        _check(selector, runs)
    noisy_runs = [run for run in runs if not _is(run, clean) and not _is(run, permuted) and _is(run, noisy or {})]
    chosen = DriftRuns(
        found,
        method,
        tuple(run["key"] for run in runs if _is(run, clean)),
        tuple(run["key"] for run in runs if _is(run, permuted)),
        _settings(noisy_runs),
    )
    _check_network([*noisy_runs, *(run for run in runs if _is(run, clean) or _is(run, permuted))])
    _check_counts(chosen, clean, permuted)
    return chosen


def selector(pairs: Sequence[str], key: str, default: Selector | None = None) -> Selector | None:
    """`["noise=flip", "rate=0.5"]` as a mapping; the default where there is none.

    Raises:
        UserError: a pair without `=`.
    """
    for pair in pairs:
        if "=" not in pair:
            raise UserError(f"{key}: {pair!r} is no KEY=VALUE, e.g. rate=0.5")
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs} or default


def _runs(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """One record a pretraining, in the order of axes and keys."""
    found = rows.unique("pretrain_key").sort("axes", "pretrain_key")
    return [
        {
            "key": row["pretrain_key"],
            "encoder": row["encoder"],
            "axes": {name: value for name, value in json.loads(row["axes"]).items() if name != REALISATION},
            "options": json.loads(row["options"]),
            "details": json.loads(row["details"] or "{}"),
        }
        for row in found.iter_rows(named=True)
    ]


def _is(run: Mapping[str, Any], wanted: Selector) -> bool:
    return all(_same(run["options"].get(name), value) for name, value in wanted.items())


def _same(value: Any, wanted: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value) == float(wanted)
        except ValueError:
            return False
    return value_text(value) == wanted


def _check(wanted: Selector, runs: Sequence[Mapping[str, Any]]) -> None:
    for name in wanted:
        if name not in runs[0]["options"]:
            raise unknown("option", name, runs[0]["options"])


def _settings(runs: Sequence[Mapping[str, Any]]) -> tuple[NoisySetting, ...]:
    """Settings by name, the least information lost first."""
    named: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        named.setdefault(axes_text(json.dumps(run["axes"])), []).append(run)
    found = [
        NoisySetting(
            name,
            tuple(run["key"] for run in members),
            _mean(members, "information_loss"),
            _mean(members, "realised_noise_rate"),
        )
        for name, members in named.items()
    ]
    return tuple(sorted(found, key=lambda setting: (setting.information_loss or 0.0, setting.name)))


def _mean(runs: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [run["details"][name] for run in runs if name in run["details"]]
    return sum(values) / len(values) if values else None


def _check_network(runs: Sequence[Mapping[str, Any]]) -> None:
    networks = sorted({run["encoder"] for run in runs})
    if len(networks) > 1:
        raise UserError(
            f"layer drift compares pretrainings of one network, these are {', '.join(networks)}; choose one in every "
            "selector, e.g. --clean rate=0 --clean encoder=unet_nano"
        )


def _check_counts(chosen: DriftRuns, clean: Selector, permuted: Selector) -> None:
    counts = [(f"clean ({_text(clean)})", len(chosen.clean)), (f"permuted ({_text(permuted)})", len(chosen.permuted))]
    counts += [(setting.name, len(setting.keys)) for setting in chosen.noisy] or [("of any other setting", 0)]
    if all(count >= LEAST for _, count in counts):
        return
    told = ", ".join(f"{count} {name}" for name, count in counts)
    absent = [name for name, count in counts if count == 0]
    how = f"; add {' and '.join(absent)} to its settings" if absent else ""
    raise UserError(
        f"layer drift needs {LEAST} pretrainings of each kind, but study {chosen.study.name!r} has {told}; run it with "
        f"--set seeds={LEAST}{how}"
    )


def _text(wanted: Selector) -> str:
    return ", ".join(f"{name}={value}" for name, value in wanted.items())
