"""Recall by class on a page: the budget's control, the figure, the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import streamlit as st

from bench.results.budgets import unit_title
from bench.results.leaderboard import budgets_of
from bench.results.palette import Style
from bench.results.recall_figure import hardest_first, recall_figure
from dashboards.frame import plain
from dashboards.loading import load_recall, load_results

MOST = 25  # classes drawn
CONFIG = {"displayModeBar": False, "responsive": True}


def recall_by_class(root: Path, study: str | None, order: Sequence[str], looks: Mapping[str, Style]) -> None:
    """The section of the page; a line of words where no shown entrant counted its classes at the budget."""
    st.subheader("Recall by class", anchor=False)
    scored = load_results(root, study).scored("balanced_accuracy")
    if scored.is_empty():
        st.caption("No row has classes to recall.")
        return
    budgets = budgets_of(scored)
    first = _first(scored, budgets)
    title = unit_title(scored["protocol"].unique())
    budget = st.segmented_control(
        title, budgets, default=first, required=True, wrap=True, key="budget", bind="query-params"
    )
    recall = load_recall(root, study, budget if budget in budgets else first)
    recall = recall.filter(pl.col("entrant").is_in(list(order)))
    if recall.is_empty():
        st.caption("None of these entrants has counts by class at this budget.")
        return
    classes = hardest_first(recall)
    drawn = recall.filter(pl.col("class").is_in(classes["class"].head(MOST).to_list()))
    figure = recall_figure(drawn, looks, order=order)
    st.plotly_chart(figure, config=CONFIG, key="recall", alt="Recall of each class, a point an entrant")
    text = "Share of a class's test images found, the mean over seeds and draws; the class found least comes first."
    if classes.height > MOST:
        text += f" The {MOST} found least of {classes.height}; the table has all."
    if missing := [name for name in order if name not in set(recall["entrant"])]:
        text += f" Not measured at this budget: {', '.join(missing)}."
    st.caption(plain(text))
    _numbers(recall, classes, order)


def _first(scored: pl.DataFrame, budgets: list[str]) -> str:
    """The budget to begin with: of those that most entrants have, the one in the middle."""
    counts = dict(scored.group_by("label_budget").agg(pl.col("entrant").n_unique()).iter_rows())
    most = [budget for budget in budgets if counts[budget] == max(counts.values())]
    return most[len(most) // 2]


def _numbers(recall: pl.DataFrame, classes: pl.DataFrame, order: Sequence[str]) -> None:
    found = {(row["entrant"], row["class"]): row["recall"] for row in recall.iter_rows(named=True)}
    lines = [
        {"Class": row["name"], "Train pool": row["pool"], "Test images": row["n_test"]}
        | {name: found.get((name, row["class"])) for name in order}
        for row in classes.iter_rows(named=True)
    ]
    config = {name: st.column_config.NumberColumn(format="%.3f") for name in order}
    with st.expander("The recalls"):
        st.dataframe(lines, column_config=config, hide_index=True, key="recalls", alt="Recall by class and entrant")
