"""Return on labels: total cost to reach a target score at the reader's own prices, and where pretraining pays off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from bench.results.leaderboard import Board
from bench.results.money import amount_text, cost_text
from bench.results.returns import Prices
from bench.results.run_figures import cost_figure
from bench.results.summary import reference_text
from bench.results.text import footnotes, metric_text, seconds_text
from dashboards.frame import heading, plain, progress_line, show
from dashboards.loading import load_board, load_metrics, load_results, load_returns, load_styles
from dashboards.target import labels_text, target_slider

FIRST = 12  # entrants drawn
CONFIG = {"displayModeBar": False, "responsive": True}


def page(root: Path, study: str | None) -> None:
    """Prices and target, the costs as a figure, everything as a table."""
    opened, metrics = load_results(root, study), load_metrics(root, study)
    header = st.container()
    if not metrics:
        with header:
            heading(opened.study, "No entrant has a score yet", "Costs follow as soon as one has.")
        return
    columns = st.columns([1.2, 1, 1], vertical_alignment="bottom")
    metric = columns[0].selectbox("Metric", metrics, format_func=metric_text, key="metric", bind="query-params")
    board = load_board(root, study, metric, None)
    on_gpu = bool((opened.rows["gpu_seconds"].fill_null(0) > 0).any())
    hour = "Price of a GPU-hour" if on_gpu else "Price of a CPU-hour"
    label = columns[1].number_input(
        "Price of a label", 0.0, 1e6, 0.1, step=0.05, format="%.4g", key="label", bind="query-params"
    )
    compute = columns[2].number_input(hour, 0.0, 1e6, 2.0, step=0.5, format="%.4g", key="hour", bind="query-params")
    target = target_slider(board)
    prices = Prices(float(label or 0.0), float(compute or 0.0))
    table = load_returns(root, study, metric, target, prices)
    reached = table.filter(pl.col("censored") != ">=")
    with header:
        heading(opened.study, *_words(board, reached, target))
        progress_line(root)
    if reached.is_empty():
        return
    _figure(reached, load_styles(root, study))
    _table(table, on_gpu)
    _notes(board, table)


def _words(board: Board, reached: pl.DataFrame, target: float) -> tuple[str, str]:
    score = f"{metric_text(board.metric)} {target:.2f}"
    if reached.is_empty():
        return f"No entrant reaches {score}", "Move the target down."
    best = reached.row(0, named=True)
    title = f"{best['entrant']} reaches {score} for {amount_text(best['cost'])}"
    spent = f"{round(best['labels']):,} labels"
    spent += f" and {seconds_text(best['hours'] * 3600)} of compute" if best["hours"] else " and no pretraining"
    cost = cost_text(best["cost"], best["cost_low"], best["cost_high"], best["censored"])
    parts = [f"The cheapest of {reached.height} that get there, at {cost}: {spent}."]
    others = reached.filter(pl.col("is_reference"))
    if best["is_reference"]:
        parts.append("It uses no pretraining: at these prices, none pays for itself here.")
    elif others.height:
        row = others.row(0, named=True)
        parts.append(
            f"Without pretraining, {row['entrant']} takes {cost_text(row['cost'], row['cost_low'], row['cost_high'])}."
        )
    return title, " ".join(parts)


def _figure(reached: pl.DataFrame, looks: Mapping[str, Any]) -> None:
    shown = reached.head(FIRST)
    if not (shown["cost"] > 0).any():
        st.info("At these prices everything is free.")
        return
    st.plotly_chart(cost_figure(shown, looks), config=CONFIG, key="costs", alt="Total cost by entrant, with intervals")
    if reached.height > FIRST:
        st.caption(f"The {FIRST} cheapest of {reached.height} that reach the target; the table has all.")


def _table(table: pl.DataFrame, on_gpu: bool) -> None:
    lines = [
        {
            "Entrant": row["entrant"] + (" (reference)" if row["is_reference"] else ""),
            "Total cost": "not reached" if row["censored"] == ">=" else _cost(row),
            "Labels": labels_text(row, row["censored"]),
            "Compute": seconds_text(row["hours"] * 3600),
            "Pays from, a label": _break_even(row),
        }
        for row in table.iter_rows(named=True)
    ]
    device = "times the GPUs it ran on" if on_gpu else "on CPU"
    config = {
        "Entrant": st.column_config.TextColumn(width=260),
        "Total cost": st.column_config.TextColumn(width=165, help="Labels and compute together."),
        "Labels": st.column_config.TextColumn(width=160, help="Labels to reach the target, with the interval."),
        "Compute": st.column_config.TextColumn(width=75, help=f"Pretraining of one seed and search, {device}."),
        "Pays from, a label": st.column_config.TextColumn(
            width=215, help="Break-even: the price of a label from which the labels saved pay for the extra compute."
        ),
    }
    st.dataframe(lines, column_config=config, hide_index=True, key="table", alt="Costs to reach the target as a table")


def _cost(row: Mapping[str, Any]) -> str:
    return cost_text(row["cost"], row["cost_low"], row["cost_high"], row["censored"])


def _break_even(row: Mapping[str, Any]) -> str:
    if row["is_reference"]:
        return "-"
    if row["break_even"] is None:
        return row["break_even_reason"] or "-"
    low, high = row["break_even_low"], row["break_even_high"]
    if low is not None and high is not None and math.isinf(high) and math.isfinite(low):
        return f"{amount_text(row['break_even'])} ({amount_text(low)} to never)"
    return cost_text(row["break_even"], low, high, row["break_even_censored"])


def _notes(board: Board, table: pl.DataFrame) -> None:
    notes = [
        "Cost: labels at your price, plus the pretraining of one seed and the whole search at yours; 95 % intervals."
    ]
    if board.reference:
        notes.append(f"Break-even is against {reference_text(board)}, at the same target.")
        notes.append("never: the interval of the labels saved includes none, so that it may not pay at any price.")
    if board.frame["fuse"].is_not_null().any():
        notes.append("The partner of a fusion is taken as given: its own pretraining is not charged.")
    notes += footnotes(table["mark"])
    st.caption("  \n".join(plain(note) for note in notes))


show(page)
