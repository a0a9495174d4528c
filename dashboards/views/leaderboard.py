"""The leaderboard: intervals of score and labels saved, then every number in a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bench.errors import UserError
from bench.results.budgets import unit_title
from bench.results.forest import forest_figure
from bench.results.leaderboard import Board, budgets_of
from bench.results.opening import NoResultsError
from bench.results.palette import Style
from bench.results.render import board_notes, replicates_text, shared_tags
from bench.results.text import metric_text, saved_text, score_text, seconds_text
from dashboards.frame import broken, choose_study, headline, no_results, plain, progress_line
from dashboards.loading import load_board, load_metrics, load_results, load_styles, results_root
from dashboards.selection import remember, runs_link, table_key, wanted

OVERALL = "all budgets"
FIRST = 12  # entrants drawn as intervals
_FILTERS = ("method", "protocol")
CONFIG = {"displayModeBar": False, "responsive": True}


def page() -> None:
    """Draws the page, or says why there is nothing to draw."""
    root = results_root()
    try:
        study = choose_study(root)
        metrics, rows = load_metrics(root, study), load_results(root, study).rows
        header = st.container()
        controls = st.columns([1.1, 2, 0.7], vertical_alignment="bottom")
        metric, budget = _measure(controls[:2], metrics, budgets_of(rows), rows["protocol"].unique())
        board = load_board(root, study, metric, budget)
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
    with controls[2].popover("Filter", icon=":material/filter_list:", width="stretch"):
        shown = _filtered(board)
    if shown.is_empty():
        st.info("No entrant matches the filters.")
        return
    above = st.container()
    selected = _table(shown, shared_tags(board), wanted(board.frame))
    compared = _compared(board, shown, selected)
    with above:
        _intervals(board, compared, looks)
        if len(selected) == 1:
            runs_link(compared.row(0, named=True))
    st.caption("  \n".join(plain(note) for note in board_notes(board)))


def _measure(
    columns: Sequence[DeltaGenerator], metrics: list[str], budgets: list[str], protocols: Iterable[str]
) -> tuple[str | None, str | None]:
    """Which metric, at which label budget; None for the study's own and for all budgets."""
    metric = None
    if metrics:
        metric = columns[0].selectbox("Metric", metrics, format_func=metric_text, key="metric", bind="query-params")
    choices = [OVERALL, *budgets]
    budget = columns[1].segmented_control(
        unit_title(protocols), choices, default=OVERALL, required=True, wrap=True, key="budget", bind="query-params"
    )
    return metric, None if budget in (None, OVERALL) else budget


def _filtered(board: Board) -> pl.DataFrame:
    """The lines that the reader wants to see; filters change no number."""
    frame = board.frame
    methods, protocols = (frame[name].drop_nulls().unique(maintain_order=True).to_list() for name in _FILTERS)
    chosen = st.pills("Methods", methods, selection_mode="multi", key="method", bind="query-params")
    judged = st.pills("Protocols", protocols, selection_mode="multi", key="protocol", bind="query-params")
    if chosen:
        frame = frame.filter(pl.col("method").is_in(chosen))
    return frame.filter(pl.col("protocol").is_in(judged)) if judged else frame


def _intervals(board: Board, shown: pl.DataFrame, looks: Mapping[str, Style]) -> None:
    ranked = shown.filter(pl.col("score").is_not_null())
    if ranked.is_empty():
        st.caption("None of these entrants has a score here.")
        return
    figure = forest_figure(ranked.head(FIRST), looks, score_title=metric_text(board.metric), saved_title="labels saved")
    st.plotly_chart(figure, config=CONFIG, key="intervals", alt="Intervals of score and labels saved by entrant")
    if ranked.height > FIRST:
        st.caption(
            f"The first {FIRST} of {ranked.height}; the table has all of them; select lines there to compare others."
        )


def _compared(board: Board, shown: pl.DataFrame, selected: list[str]) -> pl.DataFrame:
    """The lines to draw: the selected ones, or all; what is selected goes into the link, filtered away or not."""
    names = set(shown["entrant"])
    remember([name for name in wanted(board.frame) if name not in names] + selected)
    return shown.filter(pl.col("entrant").is_in(selected)) if selected else shown


def _table(shown: pl.DataFrame, shared: set[str], selected: list[str]) -> list[str]:
    """Draws the table, the entrants in `selected` marked to begin with; returns those that the reader selects."""
    lines = [
        {
            "#": "-" if row["place"] is None else str(row["place"]),
            "Entrant": row["entrant"] + (" (reference)" if row["is_reference"] else ""),
            "Labels saved": saved_text(
                row["saved"], row["saved_low"], row["saved_high"], row["saved_censored"], row["saved_mark"], times="×"
            ),
            "Score": score_text(row["score"], row["score_low"], row["score_high"], row["score_mark"]),
            "Curve": [point["score"] for point in row["budgets"] or []],
            "Status": _status(row, shared),
            "Rank": _span(row["rank_low"], row["rank_high"]),
            "Seeds × draws": replicates_text(row, times="×"),
            "Pretraining": seconds_text(row["pretrain_seconds"]),
            "Search": seconds_text(row["search_seconds"]),
            "GPU hours": row["gpu_hours"] or None,
        }
        for row in shown.iter_rows(named=True)
    ]
    config = {
        "#": st.column_config.TextColumn(width=36, help="Place by score; ties share a place."),
        "Entrant": st.column_config.TextColumn(width=220),
        "Labels saved": st.column_config.TextColumn(
            width=125, help="How many times the labels the reference needs for the same score, with its interval."
        ),
        "Score": st.column_config.TextColumn(width=120),
        "Curve": st.column_config.LineChartColumn(width=80, y_min=0.0, help="Score from the fewest labels to all."),
        "Status": st.column_config.TextColumn(width=140, help="What to know before trusting the line."),
        "Rank": st.column_config.TextColumn(width=60, help="Ranks that the data do not rule out."),
        "Pretraining": st.column_config.TextColumn(width=90, help="Mean of a seed, wall time."),
        "Search": st.column_config.TextColumn(width=60, help="Losing and pruned trials included, wall time."),
        "GPU hours": st.column_config.NumberColumn(width=85, format="%.1f", help="All pretrainings of the entrant."),
    }
    st.caption("Select lines to compare them above.")
    names = shown["entrant"].to_list()
    rows = [place for place, name in enumerate(names) if name in selected]
    event = st.dataframe(
        lines,
        column_config=config,
        hide_index=True,
        key=table_key(names),
        alt="The leaderboard as a table",
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": rows}},
    )
    return [names[place] for place in event.selection.rows if place < len(names)]


def _status(row: Mapping[str, Any], shared: set[str]) -> str:
    tags = [tag for tag in row["tags"] or [] if tag not in shared]
    return ", ".join(tags) or ("ok" if row["score"] is not None else "not measured here")


def _span(low: int | None, high: int | None) -> str:
    if low is None or high is None:
        return "-"
    return str(low) if low == high else f"{low} to {high}"


page()
