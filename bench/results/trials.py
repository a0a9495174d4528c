"""The trials of a study's searches: what was tried, how it ended, how far it got."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import UserError
from bench.results.entrants import axes_text
from bench.results.opening import Study
from bench.store.fragments import Fragments

REACHED = "reached"
_SCHEMA = {
    "method": pl.String(),
    "setting": pl.String(),
    "parameters": pl.String(),
    "number": pl.Int64(),
    "state": pl.String(),
    REACHED: pl.Float64(),
    "best": pl.Boolean(),
    "objective": pl.String(),
    "curve": pl.List(pl.Struct({"epoch": pl.Float64, "value": pl.Float64})),
    "seconds": pl.Float64(),
    "reason": pl.String(),
    "values": pl.String(),
}


def trials_of(root: Path, study: Study | None) -> pl.DataFrame:
    """The trials of a study's searches, of every one in the root where no study is named.

    Returns:
        One row a trial: method, setting and parameters (as text), number, state, reached (the objective at the end, or
        at the last rung before it was stopped), best (of its search), objective, curve, seconds, reason, values (JSON
        of setting and parameters together).

    Raises:
        UserError: the trials cannot be read, or were written by a newer version.
    """
    fragments = Fragments(root, "trials")
    try:
        fragments.check_readable()
        wanted = pl.lit(True) if study is None else pl.col("search_key").is_in(list(study.search_keys))
        order = ("method", "setting", "search_key", "number")
        records = fragments.read(lambda trials: trials.filter(wanted).sort(*order)).to_dicts()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{fragments.folder}: the trials cannot be read ({type(error).__name__}: {error})") from None
    best: dict[str, float] = {}
    for record in records:
        if record["state"] == "complete" and record["value"] is not None:
            best[record["search_key"]] = max(record["value"], best.get(record["search_key"], -math.inf))
    return pl.DataFrame([_trial(record, best.get(record["search_key"])) for record in records], schema=_SCHEMA)


def tried(trials: pl.DataFrame) -> list[str]:
    """The settings and parameters that took at least two values in these trials, sorted by name."""
    seen: dict[str, set[str]] = {}
    for values in trials["values"]:
        for name, value in json.loads(values).items():
            seen.setdefault(name, set()).add(json.dumps(value, sort_keys=True))
    return sorted(name for name, values in seen.items() if len(values) > 1)


def _trial(record: dict[str, Any], best: float | None) -> dict[str, Any]:
    value, curve = record["value"], record["curve"] or []
    reached = value if value is not None else curve[-1]["value"] if curve else None
    values = {**json.loads(record["setting"] or "{}"), **json.loads(record["parameters"] or "{}")}
    kept = {name: record[name] for name in _SCHEMA if name in record}
    return kept | {
        "setting": axes_text(record["setting"]),
        "parameters": axes_text(record["parameters"]),
        REACHED: reached if reached is not None and math.isfinite(reached) else None,
        "best": best is not None and record["state"] == "complete" and value == best,
        "values": json.dumps(values, sort_keys=True),
    }
