"""The target score: its slider, and what is read off the curves there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import streamlit as st

from bench.results.leaderboard import Board
from bench.results.summary import reference_text
from bench.results.text import footnotes, metric_text, saved_text
from dashboards.frame import plain

_HIGHEST = 0.99  # beyond, the statistics no longer tell scores apart


def target_slider(board: Board) -> float:
    """The target score that the reader chose; no slider where there is only one to choose."""
    low, high, first = _targets(board)
    if high <= low:
        return first
    label = f"Target {metric_text(board.metric)}"
    return float(st.slider(label, low, high, first, 0.01, format="%.2f", key="target", bind="query-params"))


def labels_text(row: Mapping[str, Any], censored: str) -> str:
    """`120 (80 to 190)`, `more than 500`, `at most 10`: labels to reach the target, with the interval."""
    sign = {">=": "more than ", "<=": "at most "}.get(censored, "")
    low, high = row["labels_low"], row["labels_high"]
    if censored == ">=" or low is None or high is None:
        return f"{sign}{round(row['labels']):,}"
    if math.isinf(high):
        interval = f"from {round(low):,}" if low else ""
    else:
        interval = f"{round(low):,} to {round(high):,}" if low else f"up to {round(high):,}"
    return f"{sign}{round(row['labels']):,}{f' ({interval})' if interval else ''}"


def read_off(board: Board, table: pl.DataFrame, order: Sequence[str], target: float) -> None:
    """Labels saved at the target as a table: one line an entrant, in the order of the figure."""
    found = {row["entrant"]: row for row in table.iter_rows(named=True)}
    shown = [found[name] for name in order if name in found]
    lines = [
        {
            "Entrant": row["entrant"] + (" (reference)" if row["entrant"] in board.reference else ""),
            "Labels saved": _saved(row),
            "Labels needed": "-" if row["labels"] is None else labels_text(row, row["labels_censored"]),
        }
        for row in shown
    ]
    st.subheader(plain(f"Labels saved at {metric_text(board.metric)} {target:.2f}"), anchor=False)
    config = {
        "Entrant": st.column_config.TextColumn(width=175),
        "Labels saved": st.column_config.TextColumn(width=165),
        "Labels needed": st.column_config.TextColumn(width=200, help="To reach the target, with the interval."),
    }
    st.dataframe(lines, column_config=config, hide_index=True, key="read-off", alt="Labels saved at the target")
    notes = [f"{board.level * 100:g} % intervals; ≥, ≤, more than, at most: a curve ends before it gets there."]
    if board.reference:
        notes.insert(0, f"How many times the labels {reference_text(board)} needs to reach the target.")
    notes += footnotes(row["mark"] for row in shown)
    st.caption("  \n".join(plain(note) for note in notes))


def _saved(row: Mapping[str, Any]) -> str:
    if row["factor"] is None:
        return row["reason"] or "-"
    return saved_text(row["factor"], row["low"], row["high"], row["censored"], row["mark"], times="×")


def _targets(board: Board) -> tuple[float, float, float]:
    """Least and largest target worth asking for, and the one to begin with: what half of the entrants reach."""
    best = board.curves.group_by("entrant").agg(pl.col("score").max())["score"].drop_nulls()
    least = board.curves["score"].drop_nulls()
    if best.is_empty():
        return 0.0, 0.0, 0.0
    low, high = math.ceil(float(least.min()) * 100) / 100, math.floor(float(best.max()) * 100) / 100  # type: ignore[arg-type]
    first = math.floor(float(best.median()) * 100 - 1e-9) / 100  # type: ignore[arg-type]
    high = min(high, _HIGHEST)
    return low, high, min(max(first, low), high)
