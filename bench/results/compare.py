"""Two bundles side by side: how each entrant's score changed, beyond chance or not, and what else is different."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.errors import UserError, unknown
from bench.results.bundle import ROWS_FILE, SPLITS_FILE, STUDY_FILE
from bench.results.change import Change, score_change
from bench.results.leaderboard import measured_metrics
from bench.results.lineage import changes, flattened, reasons
from bench.results.opening import Opened, assemble, parse_study, read_items
from bench.results.verify import read_index
from bench.stats.multiplicity import holm
from bench.store.files import read_json

ONLY_BEFORE, ONLY_AFTER = "only in A", "only in B"
SAME, BETTER, WORSE, UNDECIDED = "same rows", "better", "worse", "undecided"
UNREPEATED = "the same row keys: the numbers do not repeat"
COMPARED = {
    "entrant": pl.String(),
    "before": pl.Float64(),
    "after": pl.Float64(),
    "change": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p": pl.Float64(),
    "verdict": pl.String(),
    "reasons": pl.List(pl.String()),
}


@dataclass(frozen=True)
class Comparison:
    """What two bundles differ in.

    Attributes:
        frame: one line an entrant, best in B first: entrant, before, after, change (after less before, of the area
            over the label budgets that both have), low, high, p (Holm over all entrants), verdict ("better" or
            "worse" at the level, "undecided", "same rows", "only in A", "only in B", or why there is no change to
            tell), reasons (what differs in how the rows came about).
        common: reasons that all entrants share; they are not repeated in the frame.
        study: what differs in the studies' own words.
    """

    frame: pl.DataFrame
    metric: str
    level: float
    common: tuple[str, ...]
    study: tuple[str, ...]


def compare_bundles(before: Path, after: Path, *, metric: str | None = None) -> Comparison:
    """Compares bundle `after` with bundle `before`; an entrant is the same where both leaderboards call it the same.

    Args:
        metric: None means that of `before`.

    Raises:
        UserError: a folder is no bundle or cannot be read, or a metric was not measured in both.
    """
    index = read_index(before)
    read_index(after)
    sides = _open(before), _open(after)
    metric = metric or str(index["metric"])
    known = set(measured_metrics(sides[0])) & set(measured_metrics(sides[1]))
    if metric not in known:
        raise unknown("metric", metric, known, "--metric")
    level = float(index["level"])
    names = dict.fromkeys(name for side in sides for name in side.rows["entrant"].unique(maintain_order=True))
    lines = [_line(*sides, name, metric, level) for name in names]
    frame = _tested(pl.DataFrame(lines, schema=COMPARED), level)
    frame = frame.sort("after", "before", "entrant", descending=[True, True, False], nulls_last=True)
    common = _common(frame)
    rest = [[reason for reason in found if reason not in common] for found in frame["reasons"]]
    frame = frame.with_columns(pl.Series("reasons", rest, dtype=pl.List(pl.String())))
    return Comparison(frame, metric, level, common, tuple(_study_changes(*sides)))


def _open(bundle: Path) -> Opened:
    """The rows of a bundle; its entrants have the names that its leaderboard gives them."""
    try:
        rows = pl.read_parquet(bundle / ROWS_FILE)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{bundle}: {ROWS_FILE} cannot be read ({type(error).__name__})") from None
    manifest = read_json(bundle / STUDY_FILE)
    study = parse_study(manifest) if isinstance(manifest, dict) and "study_key" in manifest else None
    return assemble(rows, read_items(bundle / SPLITS_FILE), study)


def _line(before: Opened, after: Opened, entrant: str, metric: str, level: float) -> dict[str, Any]:
    rows = [side.rows.filter(pl.col("entrant") == entrant) for side in (before, after)]
    for part, verdict in zip(rows, (ONLY_AFTER, ONLY_BEFORE), strict=True):
        if part.is_empty():
            return {"entrant": entrant, "verdict": verdict, "reasons": []}
    change = score_change(before, after, entrant, metric, level)
    found = reasons(*rows)
    if set(rows[0]["row_key"]) == set(rows[1]["row_key"]):
        if change.before == change.after:
            return {"entrant": entrant, "before": change.before, "after": change.after, "verdict": SAME, "reasons": []}
        found.insert(0, UNREPEATED)
    return {"entrant": entrant, "reasons": found} | _told(change)


def _told(change: Change) -> dict[str, Any]:
    told = {"before": change.before, "after": change.after, "low": change.low, "high": change.high, "p": change.p}
    if change.before is not None and change.after is not None:
        told["change"] = change.after - change.before
    return told | {"verdict": change.why_not or UNDECIDED}


def _tested(frame: pl.DataFrame, level: float) -> pl.DataFrame:
    """Verdicts, with Holm's correction over all entrants that have a test."""
    tested = frame["p"].is_not_null().to_numpy()
    adjusted = np.full(frame.height, np.nan)
    adjusted[tested] = holm(frame["p"].drop_nulls().to_numpy())
    p = pl.Series("p", adjusted).fill_nan(None)
    decided = pl.when(pl.col("change") > 0).then(pl.lit(BETTER)).otherwise(pl.lit(WORSE))
    verdict = pl.when(pl.col("p") <= 1 - level).then(decided).otherwise("verdict")
    return frame.with_columns(p).with_columns(verdict.alias("verdict"))


def _common(frame: pl.DataFrame) -> tuple[str, ...]:
    """Reasons of every entrant that two sets of different rows measured."""
    judged = frame.filter(~pl.col("verdict").is_in([SAME, ONLY_AFTER, ONLY_BEFORE]))["reasons"].to_list()
    return tuple(reason for reason in judged[0] if all(reason in found for found in judged)) if judged else ()


def _study_changes(before: Opened, after: Opened) -> list[str]:
    first, second = (flattened(side.study.spec) if side.study else {} for side in (before, after))
    return changes(first, second)
