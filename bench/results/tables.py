"""Leaderboards as plain tables: flat columns for CSV, cells a spreadsheet will not run, JSON without infinities."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from bench.results.leaderboard import Board

_FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"  # what a spreadsheet would run


def flat(board: pl.DataFrame) -> pl.DataFrame:
    """A leaderboard without nested columns: `score@1`, `low@1`, `high@1` for each budget, tags joined by `; `."""
    points = board.select("entrant", "budgets").explode("budgets").unnest("budgets").drop_nulls("label_budget")
    points = points.unique(["entrant", "label_budget"])  # an entrant may stand in several groups
    table = board.drop("budgets").with_columns(pl.col("tags").list.join("; "))
    for budget in points.sort("n_labels")["label_budget"].unique(maintain_order=True):
        part = points.filter(pl.col("label_budget") == budget)
        at = part.select("entrant", *(pl.col(key).alias(f"{key}@{budget}") for key in ("score", "low", "high")))
        table = table.join(at, on="entrant", how="left", maintain_order="left")
    return table


def neutral(frame: pl.DataFrame) -> pl.DataFrame:
    """Text cells that a spreadsheet would run as a formula (`=`, `+`, `-`, `@` in front) behind a leading quote."""
    texts = [pl.col(name) for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(
        pl.when(text.str.contains(_FORMULA)).then(pl.lit("'") + text).otherwise(text).name.keep() for text in texts
    )


def csv_text(boards: Sequence[tuple[Board, pl.DataFrame]]) -> str:
    """Boards with the lines to show of each, as one CSV; study, metric, budget and target say what a line holds."""
    parts = []
    for board, lines in boards:
        asked = [pl.lit(_asked(board)[key]).alias(key) for key in ("study", "metric", "budget", "target")]
        parts.append(flat(lines).select(*asked, pl.all()))
    return neutral(pl.concat(parts, how="diagonal_relaxed")).write_csv()


def json_text(boards: Sequence[tuple[Board, pl.DataFrame]]) -> str:
    """Boards with the lines to show of each, as a JSON list; an open end of an interval is null."""
    parts = [_asked(board) | {"entrants": [_finite(row) for row in lines.to_dicts()]} for board, lines in boards]
    return json.dumps(parts, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _asked(board: Board) -> dict[str, Any]:
    study = board.study
    return {
        "study": study.name if study else None,
        "study_key": study.key if study else None,
        "dataset": study.data.get("name") if study else None,
        "metric": board.metric,
        "level": board.level,
        "budget": board.budget,
        "target": board.target,
        "reference": list(board.reference),
        "rows": board.present,
        "promised_rows": board.promised,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
