"""Studies that differ only in which part of the data they test on, pooled: every part held out once, each one unit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.errors import UserError
from bench.results.bundle import ROWS_FILE, STUDY_FILE
from bench.results.entrants import IDENTITY, check_reference, match_reference, with_entrants
from bench.results.opening import Study, find_study, parse_study, read_rows, studies
from bench.results.text import list_text
from bench.stats.arrays import FloatArray
from bench.stats.curves import known
from bench.stats.pool import pooled
from bench.store.files import read_json

HELD_OUT = "test_tiles"  # the key of the data's options that names a part
POOLED = {
    "entrant": pl.String(),
    "label_budget": pl.String(),
    "n_labels": pl.Int64(),
    "parts": pl.Int64(),
    "replicates": pl.Int64(),
    "score": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "against": pl.String(),
    "difference": pl.Float64(),
    "difference_low": pl.Float64(),
    "difference_high": pl.Float64(),
}
_COLUMNS = (*IDENTITY, "seed", "draw", "label_budget", "n_labels", "details", "status")
_CELL = ("entrant", "label_budget")


@dataclass(frozen=True)
class Pool:
    """What was pooled: the parts, by what their studies call them, the metric, and the table of `POOLED`."""

    name: str
    parts: tuple[str, ...]
    metric: str
    frame: pl.DataFrame


def pool(
    root: Path,
    study: str | None = None,
    *,
    metric: str = "miou",
    reference: Sequence[str] | None = None,
    level: float = 0.95,
) -> Pool:
    """Scores of every entrant at every budget over all held-out parts, and the differences to the reference.

    Args:
        root: the results root, with one study for each part: the same question, `data.test_tiles` apart.
        study: name or key of one of them; None means the newest.
        metric: one of `bench.stats.pool.MEASURES`, computed from the confusion matrices in the rows' details.
        reference: replaces the study's reference; of several, the best at each budget is subtracted.
        level: level of the intervals, whose unit is the part.

    Raises:
        UserError: fewer than two parts, parts that overlap, rows without a confusion matrix, unknown names.
    """
    first = find_study(root, study)
    if first is None:
        raise UserError(f"pool: no study in {root}; run one for each part first")
    members = _members(first, studies(root))
    return _pooled(members, [read_rows(root, part, _COLUMNS) for part in members.values()], metric, reference, level)


def pool_bundles(
    folder: Path, *, metric: str = "miou", reference: Sequence[str] | None = None, level: float = 0.95
) -> Pool:
    """The same from published bundles, one for each part.

    Args:
        folder: holds the bundles, each in a folder of its own.
        metric: as of `pool`.
        reference: as of `pool`.
        level: as of `pool`.

    Raises:
        UserError: as `pool`, or no bundle in the folder.
    """
    manifests = {path.parent: read_json(path) for path in sorted(folder.glob(f"*/{STUDY_FILE}"))}
    found = {path: parse_study(said) for path, said in manifests.items() if said and "study_key" in said}
    if not found:
        raise UserError(f"pool: no bundle in a folder of {folder}; make them with: bench export --format bundle")
    members = _members(next(iter(found.values())), found.values())
    places = {study.key: path for path, study in found.items()}
    frames = [pl.read_parquet(places[part.key] / ROWS_FILE, columns=list(_COLUMNS)) for part in members.values()]
    return _pooled(members, frames, metric, reference, level)


def _pooled(
    members: Mapping[str, Study],
    frames: Sequence[pl.DataFrame],
    metric: str,
    reference: Sequence[str] | None,
    level: float,
) -> Pool:
    """The table, from the rows of each member."""
    parts = zip(members, frames, strict=True)
    rows = pl.concat([_confusions(frame).with_columns(pl.lit(name).alias("part")) for name, frame in parts])
    if rows.is_empty():
        raise UserError(f"pool: no row of {_name(members)} holds a confusion matrix; valid: studies of segmentation")
    names = reference or next(iter(members.values())).reference
    found = (check_reference if reference else match_reference)(names, rows)
    stacks = {key: stack for key, part in _cells(rows) if (stack := _stack(part, tuple(members))) is not None}
    labels = {(e, b): n for e, b, n in rows.group_by(_CELL).agg(pl.col("n_labels").max()).iter_rows()}
    records = [_record(key, labels[key], stacks, found, metric, level) for key in stacks]
    frame = pl.DataFrame(records, schema=POOLED).sort("n_labels", "score", "entrant", descending=[False, True, False])
    return Pool(_name(members), tuple(members), metric, frame)


def _members(first: Study, others: Iterable[Study]) -> dict[str, Study]:
    """The studies that ask what the first one asks, by the part each holds out: of two, the one that comes first.

    Raises:
        UserError: fewer than two, or parts that share a tile.
    """
    asked = _question(first)
    found: dict[tuple[str, ...], Study] = {}
    for other in others:
        held = tuple(other.spec.get("data", {}).get(HELD_OUT) or ())
        if held and _question(other) == asked:
            found.setdefault(held, other)
    tiles = [tile for held in found for tile in held]
    if len(found) < 2:
        raise UserError(
            f"pool: {first.name} was run with {len(found)} choice of data.{HELD_OUT}; run it once for each part, "
            f"--set 'data.{HELD_OUT}=[NAME]'"
        )
    twice = sorted({tile for tile in tiles if tiles.count(tile) > 1})
    if twice:
        raise UserError(f"pool: {list_text(twice)} is held out in several studies of {first.name}; a part counts once")
    return {", ".join(held): found[held] for held in sorted(found)}


def _question(study: Study) -> str:
    """What a study asks, whatever part it tests on, whoever runs it."""
    spec = {key: value for key, value in study.spec.items() if key not in ("description", "resources", "claims")}
    data = {key: value for key, value in (spec.get("data") or {}).items() if key not in (HELD_OUT, "root")}
    return json.dumps({**spec, "data": data}, sort_keys=True)


def _confusions(rows: pl.DataFrame) -> pl.DataFrame:
    """The finished rows that hold a confusion matrix: entrant, cell, seed, draw, confusion (as JSON)."""
    rows = rows.filter(pl.col("status") == "ok")
    told = [json.dumps(json.loads(text or "{}").get("confusion")) for text in rows["details"]]
    rows = with_entrants(rows.with_columns(pl.Series("confusion", told, dtype=pl.String)))
    kept = rows.filter(pl.col("confusion") != "null")
    return kept.select(*_CELL, "method", "protocol", "n_labels", "seed", "draw", "confusion")


def _cells(rows: pl.DataFrame) -> list[tuple[tuple[str, str], pl.DataFrame]]:
    return [((str(key[0]), str(key[1])), part) for key, part in rows.group_by(_CELL, maintain_order=True)]


def _stack(part: pl.DataFrame, parts: tuple[str, ...]) -> FloatArray | None:
    """Confusion matrices [parts, replicates, K, K] of the seeds and draws that every part has; None without any."""
    cells = {(p, s, d): text for p, s, d, text in part.select("part", "seed", "draw", "confusion").iter_rows()}
    replicates = sorted({key[1:] for key in cells}, key=lambda key: (key[0] is not None, key))
    complete = [key for key in replicates if all((name, *key) in cells for name in parts)]
    if not complete:
        return None
    return np.array([[json.loads(cells[(name, *key)]) for key in complete] for name in parts], np.float64)


def _record(
    key: tuple[str, str],
    labels: int,
    stacks: Mapping[tuple[str, str], FloatArray],
    references: Sequence[str],
    metric: str,
    level: float,
) -> dict[str, Any]:
    """One line of the table."""
    entrant, budget = key
    estimate = pooled(stacks[key], metric)
    low, high = (known(float(end)) for end in estimate.interval(level))
    record = {"entrant": entrant, "label_budget": budget, "n_labels": labels, "score": float(estimate.value)}
    record |= {"low": low, "high": high, "parts": len(stacks[key]), "replicates": stacks[key].shape[1]}
    rivals = {name: stacks[name, budget] for name in references if (name, budget) in stacks}
    rivals = {name: stack for name, stack in rivals.items() if stack.shape[2:] == stacks[key].shape[2:]}
    if entrant in rivals or not rivals:
        return record
    best = max(rivals, key=lambda name: (float(pooled(rivals[name], metric).value), name))
    gap = pooled(stacks[key], metric, rivals[best])
    low, high = (known(float(end)) for end in gap.interval(level))
    return record | {
        "against": best, "difference": float(gap.value), "difference_low": low, "difference_high": high
    }  # fmt: skip


def _name(members: Mapping[str, Study]) -> str:
    return next(iter(members.values())).name
