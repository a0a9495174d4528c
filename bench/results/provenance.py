"""What a reader must know before trusting a line: stale code, failed seeds, rows still missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

OLDER = "older version"
EDITED = "code edited since"
PARTIAL = "partial"


@dataclass(frozen=True)
class Code:
    """The code as it stands now, to hold rows against.

    Attributes:
        versions: numerical version of each piece of code.
        sources: digests of today's source; empty where they were not computed, and nothing is then called edited.
    """

    versions: Mapping[str, int] = field(default_factory=dict)
    sources: frozenset[str] = frozenset()


def tags(rows: pl.DataFrame, code: Code, *, seeds: int | None, complete: bool) -> pl.DataFrame:
    """Status tags of every entrant.

    Args:
        rows: with the columns entrant, protocol, seed, draw, label_budget, status, reason, numerical_versions,
            source_hash.
        seeds: how many seeds the study asked for, where it is known.
        complete: whether every row that the study promised is there.

    Returns:
        Frame [entrant, tags: list of str, reason: str or null]; an entrant without tags has an empty list.
    """
    failed = _failed(rows)
    stale = _stale(rows, code)
    partial = set() if complete else _partial(rows, seeds)
    reasons = dict(rows.filter(pl.col("reason").is_not_null()).group_by("entrant").agg(pl.min("reason")).iter_rows())
    names = rows["entrant"].unique(maintain_order=True).to_list()
    found = [failed.get(name, []) + stale.get(name, []) + [PARTIAL] * (name in partial) for name in names]
    return pl.DataFrame(
        {"entrant": names, "tags": found, "reason": [reasons.get(name) for name in names]},
        schema={"entrant": pl.String, "tags": pl.List(pl.String), "reason": pl.String},
    )


def is_older(numerical_versions: str | None, current: Mapping[str, int]) -> bool:
    """Whether a row's JSON of numerical versions names a piece of code that has a newer version now."""
    versions = json.loads(numerical_versions) if numerical_versions else {}
    return any(name in current and _number(version) < current[name] for name, version in versions.items())


def _number(version: object) -> int:
    return version if isinstance(version, int) else 0


def _failed(rows: pl.DataFrame) -> dict[str, list[str]]:
    """`diverged` where every seed did, `diverged 1 of 5 seeds` where some did."""
    seeds = rows.group_by("entrant", maintain_order=True).agg(pl.col("seed").n_unique().alias("seeds"))
    broken = rows.filter(pl.col("status") != "ok").group_by("entrant", "status", maintain_order=True)
    counts = broken.agg(pl.col("seed").n_unique().alias("broken")).join(seeds, on="entrant")
    found: dict[str, list[str]] = {}
    for entrant, status, count, total in counts.sort("entrant", "status").iter_rows():
        tag = status if count == total else f"{status} {count} of {total} seeds"
        found.setdefault(entrant, []).append(tag)
    return found


def _stale(rows: pl.DataFrame, code: Code) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entrant, versions, source in rows.select("entrant", "numerical_versions", "source_hash").unique().iter_rows():
        known = found.setdefault(entrant, [])
        if is_older(versions, code.versions) and OLDER not in known:
            known.append(OLDER)
        if code.sources and source is not None and source not in code.sources and EDITED not in known:
            known.append(EDITED)
    # "older version" says more: code that has a new version was edited, too.
    return {entrant: [OLDER] if OLDER in known else known for entrant, known in found.items()}


def _partial(rows: pl.DataFrame, seeds: int | None) -> set[str]:
    """Entrants with fewer measurements than their protocol has elsewhere in the study."""
    draws = rows.group_by("protocol", "label_budget").agg(pl.col("draw").n_unique().alias("draws"))
    grid = draws.group_by("protocol").agg(pl.col("draws").sum())
    cells = rows.group_by("entrant", "protocol").agg(
        pl.struct("seed", "draw", "label_budget").n_unique().alias("cells"),
        pl.col("seed").n_unique().alias("seeds"),
        pl.col("seed").is_not_null().any().alias("seeded"),
    )
    wanted = pl.max_horizontal(pl.col("seeds"), pl.lit(seeds or 1)) if seeds else pl.col("seeds")
    expected = pl.col("draws") * pl.when("seeded").then(wanted).otherwise(1)
    joined = cells.join(grid, on="protocol", nulls_equal=True)
    return set(joined.filter(pl.col("cells") < expected)["entrant"])
