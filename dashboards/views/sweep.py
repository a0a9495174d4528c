"""Sweep: how the score answers to an axis, the mean over any two fields, and the trials that chose the nuisances."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import streamlit as st

from bench.results.budgets import budget_text, unit_title
from bench.results.importance import importance_text
from bench.results.importance_figure import importance_figure
from bench.results.leaderboard import budgets_of
from bench.results.opening import Opened
from bench.results.sweep import Axis, Line, axes_of, fields_of, heat
from bench.results.sweep_figures import heat_figure, response_figure, trials_figure
from bench.results.text import count_text, footnotes, list_text, metric_text, score_text, seconds_text
from bench.results.trials import REACHED, tried
from dashboards.frame import heading, plain, progress_line, show
from dashboards.loading import load_importance, load_lines, load_metrics, load_results, load_trials

ALL_BUDGETS = "all budgets"
FIRST = 6  # lines drawn: more cannot be told apart
MOST_TRIALS = 200
CONFIG = {"displayModeBar": False, "responsive": True}


def page(root: Path, study: str | None) -> None:
    """Response, heat map, trials."""
    opened, metrics = load_results(root, study), load_metrics(root, study)
    trials = load_trials(root, study)
    header = st.container()
    axes = axes_of(opened.rows)
    lines: list[Line] = []
    axis, protocol, metric = None, "", metrics[0] if metrics else None
    if axes and metric:
        left, right = st.columns(2)
        chosen = left.selectbox("Axis", [axis.label for axis in axes], key="axis", bind="query-params")
        axis = next(axis for axis in axes if axis.label == chosen)
        metric = right.selectbox("Metric", metrics, format_func=metric_text, key="metric", bind="query-params")
        protocol, lines = _response(root, study, opened, axis, metric)
    with header:
        heading(opened.study, *_words(axis, lines, protocol))
        progress_line(root)
    if metric:
        _heat(opened, metric, axis)
    _trials(root, study, trials)


def _response(root: Path, study: str | None, opened: Opened, axis: Axis, metric: str) -> tuple[str, list[Line]]:
    rows = opened.scored(metric).filter(pl.col("method") == axis.method)
    protocols = rows["protocol"].unique().sort().to_list()
    left, right = st.columns(2)
    first = protocols.index("linear") if "linear" in protocols else 0
    protocol = left.selectbox("Protocol", protocols, index=first, key="protocol", bind="query-params")
    if protocol is None:
        return "", []
    budgets = [ALL_BUDGETS, *budgets_of(rows.filter(pl.col("protocol") == protocol))]
    budget = right.selectbox(unit_title([protocol]), budgets, key="budget", bind="query-params")
    lines = load_lines(root, study, axis, metric, protocol, None if budget == ALL_BUDGETS else budget)
    if not lines:
        st.info("No two settings of this axis have measurements in common yet.")
        return protocol, []
    figure = response_figure(lines[:FIRST], axis, metric=metric)
    st.plotly_chart(figure, config=CONFIG, key="response", alt="Score over the values of the axis, with intervals")
    where = "area under the curve" if budget == ALL_BUDGETS else f"at {budget_text(str(budget), [protocol])}"
    notes = [
        f"{metric_text(metric)}, {where}; 95 % intervals. A filled mark may be the best of its line, an open one is "
        "significantly worse."
    ]
    notes += [f"The first {FIRST} of {len(lines)} lines are drawn, the table has all."] * (len(lines) > FIRST)
    notes += footnotes(mark for line in lines for mark in line.table["mark"])
    st.caption("  \n".join(plain(note) for note in notes))
    with st.expander("The numbers"):
        st.dataframe(_numbers(axis, lines), hide_index=True, key="numbers", alt="Scores by value of the axis")
    return protocol, lines


def _numbers(axis: Axis, lines: list[Line]) -> list[dict[str, str]]:
    return [
        {
            "Line": line.name,
            axis.field.name: row["text"],
            "Score": score_text(row["score"], row["low"], row["high"], row["mark"]),
            "Behind the best": f"{row['behind']:.3f}",
            "May be the best": "yes" if row["plausible"] else "no",
        }
        for line in lines
        for row in line.table.iter_rows(named=True)
    ]


def _words(axis: Axis | None, lines: list[Line], protocol: str) -> tuple[str, str]:
    """The page's title and the line below it."""
    if axis is None:
        return "No axis was varied", "Every method has one setting in this study. What it measured can be seen below."
    if not lines:
        return f"{axis.label}: nothing to compare yet", ""
    line, name = lines[0], axis.field.name
    title = f"{axis.method} is best at {name} {line.plausible[0]}"
    if len(line.plausible) == line.table.height:
        title = f"{axis.method}: no {name} is shown to be best"
    elif len(line.plausible) > 1:
        title = f"{axis.method}: the best {name} is {list_text(line.plausible, 'or')}"
    judged = protocol if line.name == protocol else f"{protocol} {line.name}"
    parts = [f"Judged by {judged}; a setting that is not significantly worse than any other may be the best."]
    if line.best and line.best["optimum"] is not None:
        low, high = line.best["low"], line.best["high"]
        ends = f" (95 %: {low:.2g} to {high:.2g})" if low is not None and high is not None else ""
        parts.append(f"A parabola through all settings has its top at {line.best['optimum']:.2g}{ends}.")
    return title, " ".join(parts)


def _heat(opened: Opened, metric: str, axis: Axis | None) -> None:
    st.subheader("Any two fields", anchor=False)
    scored = opened.scored(metric)
    methods = scored["method"].unique().sort().to_list()
    columns = st.columns(4)
    first = methods.index(axis.method) if axis and axis.method in methods else 0
    method = columns[0].selectbox("Method", methods, index=first, key="method", bind="query-params")
    rows = scored.filter(pl.col("method") == method)
    protocols = rows["protocol"].unique().sort().to_list()
    first = protocols.index("linear") if "linear" in protocols else 0
    judge = columns[1].selectbox("Judged by", protocols, index=first, key="judge", bind="query-params")
    rows = rows.filter(pl.col("protocol") == judge)
    fields = {field.name: field for field in fields_of(rows)}
    if len(fields) < 2:
        st.info("Fewer than two fields vary here: choose another method or protocol.")
        return
    names = list(fields)
    across = columns[2].selectbox("Across", names, index=1, key="across", bind="query-params")
    down = columns[3].selectbox("Down", names, index=0, key="down", bind="query-params")
    if across is None or down is None or across == down:
        st.info("Choose two different fields.")
        return
    cells, others, even = heat(rows, fields[across], fields[down], metric)
    figure = heat_figure(cells, fields[across], fields[down], metric=metric)
    st.plotly_chart(figure, config=CONFIG, key="heat", alt=f"Mean score by {across} and {down}")
    text = f"Mean {metric_text(metric)} over seeds and draws{f', and over {list_text(others)}' if others else ''}."
    if not even:
        text += " Not every cell was measured under the same conditions: compare with care."
    st.caption(plain(text))


def _trials(root: Path, study: str | None, trials: pl.DataFrame) -> None:
    st.subheader("Trials of the search", anchor=False)
    if trials.is_empty():
        st.caption("This study searched nothing, or no trial has finished yet.")
        return
    methods = trials["method"].unique().sort().to_list()
    of = st.segmented_control(
        "Trials of", methods, default=methods[0], required=True, wrap=True, key="of", bind="query-params"
    )
    part = trials.filter(pl.col("method") == (of or methods[0]))
    shown = part.sort("best", descending=True).head(MOST_TRIALS)
    if names := tried(part):
        figure = trials_figure(shown, names)
        st.plotly_chart(figure, config=CONFIG, key="trials", alt="Trials as parallel coordinates")
    _importance(root, study, of or methods[0])
    counts = part.group_by("state").len().sort("len", descending=True)
    told = ", ".join(f"{count:,} {state}" for state, count in counts.iter_rows())
    objectives = list_text(part["objective"].unique().sort().to_list())
    many = f" The first {MOST_TRIALS} are drawn." if part.height > MOST_TRIALS else ""
    st.caption(
        plain(f"{count_text(part.height, 'trial')}: {told}. Objective: {objectives}, on validation images.{many}")
    )
    _trials_table(part)


def _importance(root: Path, study: str | None, method: str) -> None:
    """What moved the objective, where there are trials enough to say."""
    found = load_importance(root, study, method)
    if found.reason:
        st.caption(plain(f"What matters most to {method} is not shown: {found.reason}."))
        return
    st.caption(plain(importance_text(found)))
    figure = importance_figure(found)
    st.plotly_chart(figure, config=CONFIG, key="importance", alt="Importance of each parameter for the objective")


def _trials_table(part: pl.DataFrame) -> None:
    lines = [
        {
            "Setting": row["setting"] or "-",
            "Trial": row["number"],
            "Tried": row["parameters"],
            "State": f"{row['state']}{', best' if row['best'] else ''}",
            "Objective": "-" if row[REACHED] is None else f"{row[REACHED]:.3f}",
            "Time": seconds_text(row["seconds"]),
            "Reason": row["reason"] or "",
        }
        for row in part.iter_rows(named=True)
    ]
    config = {
        "Objective": st.column_config.TextColumn(help="At the end, or at the last rung before it was pruned."),
        "Reason": st.column_config.TextColumn(width="medium"),
    }
    st.dataframe(lines, column_config=config, hide_index=True, key="trial_table", alt="The trials as a table")


show(page)
