"""Label efficiency: score over the number of labels, labels saved at a target and each budget, recall by class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl
import streamlit as st

from bench.errors import UserError
from bench.results.budgets import budget_text
from bench.results.figures import curve_figure, saved_figure
from bench.results.leaderboard import Board
from bench.results.opening import NoResultsError
from bench.results.palette import Style
from bench.results.summary import reference_text
from bench.results.text import count_text, metric_text, saved_text, score_text
from dashboards.frame import broken, choose_study, headline, no_results, plain, progress_line
from dashboards.loading import load_board, load_metrics, load_saved, load_styles, load_target, results_root
from dashboards.recall import recall_by_class
from dashboards.target import read_off, target_slider

FIRST = 4  # entrants drawn before the reader chooses
FIRST_REFERENCES = 2  # and of the reference beside them, the best
CONFIG = {"displayModeBar": False, "responsive": True}


def page() -> None:
    """Draws the page, or says why there is nothing to draw."""
    root = results_root()
    try:
        study = choose_study(root)
        metrics = load_metrics(root, study)
        header = st.container()
        metric = None
        left, right = st.columns([1, 2.2], vertical_alignment="bottom")
        if metrics:
            metric = left.selectbox("Metric", metrics, format_func=metric_text, key="metric", bind="query-params")
        board = load_board(root, study, metric, None)
        saved = load_saved(root, study, metric)
        looks = load_styles(root, study)
    except NoResultsError as error:
        no_results(root, error)
        return
    except (UserError, pl.exceptions.PolarsError, OSError) as error:
        broken(error)
        return
    with header:
        headline(board)
        progress_line(root)
    order = _entrants(board, right)
    if not order:
        st.info("Choose at least one entrant to draw.")
        return
    _curves(root, study, board, order, looks)
    _factors(board, saved, order, looks)
    _numbers(board, saved, order)
    try:
        recall_by_class(root, study, order, looks)
    except (UserError, pl.exceptions.PolarsError, OSError) as error:
        st.error(plain(str(error)))


def _entrants(board: Board, column: st.delta_generator.DeltaGenerator) -> list[str]:
    """The entrants to draw, best first."""
    ranked = board.ranked["entrant"].to_list()
    rivals = [name for name in ranked if name not in board.reference][:FIRST]
    fixed = [name for name in ranked if name in board.reference][:FIRST_REFERENCES]
    default = [name for name in ranked if name in rivals or name in fixed]
    chosen = column.multiselect("Entrants", ranked, default=default, key="entrants", bind="query-params")
    return [name for name in ranked if name in chosen]


def _curves(root: Path, study: str | None, board: Board, order: list[str], looks: Mapping[str, Style]) -> None:
    st.subheader("Score by number of labelled images", anchor=False)
    target = target_slider(board)
    figure = curve_figure(board.curves, looks, metric=board.metric, order=order, target=target)
    st.plotly_chart(figure, config=CONFIG, key="curves", alt="Score over the number of labels, by entrant")
    st.caption(f"Bands are {board.level * 100:g} % intervals over seeds, draws of labels and test images.")
    read_off(board, load_target(root, study, board.metric, target), order, target)


def _factors(board: Board, saved: pl.DataFrame, order: list[str], looks: Mapping[str, Style]) -> None:
    if saved.is_empty():
        return
    st.subheader("Labels saved by number of labelled images", anchor=False)
    figure = saved_figure(saved, looks, order=[name for name in order if name not in board.reference])
    st.plotly_chart(figure, config=CONFIG, key="saved", alt="Labels saved over the number of labels, by entrant")
    text = f"How many times the labels {reference_text(board)} needs for the same score."
    st.caption(plain(f"{text} An open triangle is a bound: the reference's curve ends before it gets there."))


def _numbers(board: Board, saved: pl.DataFrame, order: list[str]) -> None:
    """The same as a table: one line an entrant and budget."""
    factors = {(row["entrant"], row["label_budget"]): row for row in saved.iter_rows(named=True)}
    points = board.curves.filter(pl.col("entrant").is_in(order)).sort("n_labels")
    lines = []
    for name in order:
        for row in points.filter(pl.col("entrant") == name).iter_rows(named=True):
            factor = factors.get((name, row["label_budget"]))
            lines.append(
                {
                    "Entrant": name,
                    "Budget": budget_text(row["label_budget"], board.protocols),
                    "Labels": round(row["n_labels"]),
                    "Score": score_text(row["score"], row["low"], row["high"], row["mark"]),
                    "Labels saved": _saved(factor),
                    "Replicates": count_text(row["n_draws"], "draw")
                    if not row["n_seeds"]
                    else f"{count_text(row['n_seeds'], 'seed')} × {count_text(row['n_draws'], 'draw')}",
                }
            )
    with st.expander("The numbers"):
        st.dataframe(lines, hide_index=True, key="numbers", alt="Scores and labels saved by entrant and budget")


def _saved(row: dict[str, object] | None) -> str:
    if row is None:
        return "-"
    return saved_text(row["factor"], row["low"], row["high"], row["censored"], row["mark"], times="×")  # type: ignore[arg-type]


page()
