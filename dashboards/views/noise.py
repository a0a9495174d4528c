"""Noise: what pretraining on noisy labels gains by noise and label budget, and how far noise moves each block."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import streamlit as st

from bench.results.drift_figure import drift_figure
from bench.results.drift_tried import tried, tried_lines
from bench.results.drift_words import LEGEND, advice, between, comparison, number, setting_text
from bench.results.opening import Opened
from bench.results.plane import Plane, column_text, first_zero
from bench.results.plane_figure import plane_figure
from bench.results.text import footnotes, metric_text
from bench.store.drift import CONTRAST
from dashboards.frame import heading, plain, progress_line, show
from dashboards.loading import load_drift, load_metrics, load_planes, load_results

CONFIG = {"displayModeBar": False, "responsive": True}
_HOW = "Which labels were wrong is on record in rows of the method noisy_labels; it takes two noise levels or more."


def page(root: Path, study: str | None) -> None:
    """The plane with its words, and layer drift where it was measured."""
    opened, metrics = load_results(root, study), load_metrics(root, study)
    header = st.container()
    found, metric = [], metrics[0] if metrics else None
    if metric and load_planes(root, study, metric):
        left, right = st.columns(2)
        metric = left.selectbox("Metric", metrics, format_func=metric_text, key="metric", bind="query-params")
        found = load_planes(root, study, metric)
        names = [plane.name for plane in found]
        name = right.selectbox("Judged by", names, key="plane", bind="query-params")
        chosen = found[names.index(name) if name in names else 0] if found else None
        if chosen:
            _plane(chosen)
    with header:
        if found:
            heading(opened.study, _title(found), "Against random initialisation with the same clean labels.")
        else:
            heading(opened.study, "No label noise was varied", _HOW)
        progress_line(root)
    _drift(root, opened)


def _title(found: list[Plane]) -> str:
    """How many cells of all planes gain and lose."""
    cells = pl.concat([plane.cells for plane in found])
    gains = cells.filter(pl.col("low") > 0).height
    losses = cells.filter(pl.col("high") < 0).height
    return f"Pretraining on noisy labels gains in {gains} of {cells.height} cells and loses in {losses}"


def _plane(plane: Plane) -> None:
    figure = plane_figure(plane)
    st.plotly_chart(figure, config=CONFIG, key="noise_plane", alt="Gain by noise and label budget, with intervals")
    for budget in plane.budgets:
        st.markdown(plain(first_zero(plane, budget)))
    notes = [
        "lost: share of the information in the labels that the noise destroyed; wrong: share of the pixels that have "
        "another label. Brackets: the interval includes zero. Black line: the gain is known to change sign there. 95 % "
        "intervals."
    ]
    notes += footnotes(plane.cells["mark"])
    st.caption("  \n".join(plain(note) for note in notes))
    with st.expander("The numbers"):
        st.dataframe(_numbers(plane), hide_index=True, key="plane_numbers", alt="Gain by noise and label budget")


def _numbers(plane: Plane) -> list[dict[str, object]]:
    return [
        {
            "Noise": column_text(column),
            "Labels": cell["n_labels"],
            "Gain": f"{cell['difference']:+.3f}",
            "Interval": "-" if cell["low"] is None else f"{cell['low']:+.3f} to {cell['high']:+.3f}",
            "Seeds": cell["n_seeds"],
            "Draws": cell["n_draws"],
            "Noise realisations": cell["n_noise"],
        }
        for column in plane.columns
        for budget in plane.budgets
        if (cell := plane.cell(column.label, budget))
    ]


def _drift(root: Path, opened: Opened) -> None:
    st.subheader("How far noise moves each block", anchor=False)
    drift = load_drift(root, opened.study.key) if opened.study else None
    if drift is None or drift.is_empty():
        st.caption("Not measured yet. With four seeds or more of clean, noisy and permuted labels:")
        st.code("bench drift", language="bash")
        return
    st.plotly_chart(drift_figure(drift), config=CONFIG, key="drift", alt="Layer drift by block, with intervals")
    for _, lines in drift.group_by("setting", maintain_order=True):
        said = f"{setting_text(lines.row(0, named=True))}. {comparison(lines)} {advice(lines)}"
        st.markdown(plain(" ".join(said.split())))
        for line in tried_lines(tried(opened, lines["method"][0], lines["setting"][0])):
            st.markdown(plain(f"Tried on {line}."))
    first = drift.row(0, named=True)
    counts = (
        f"{first['n_clean']} clean and {first['n_permuted']} permuted pretrainings, {first['n_images']} test images"
    )
    st.caption(plain(f"{LEGEND} {counts}; {first['level']:.0%} intervals over the pretrainings.".replace("%", " %")))
    with st.expander("The numbers"):
        st.dataframe(_drift_numbers(drift), hide_index=True, key="drift_numbers", alt="Layer drift by block")


def _drift_numbers(drift: pl.DataFrame) -> list[dict[str, str]]:
    return [
        {
            "Setting": row["setting"],
            "Part": row["part"],
            "Block": row["block"],
            "Drift": number(row["drift"]),
            "Interval": between(row),
            **{f"d {name}": number(row[column]) for name, column in _DISTANCES.items()},
        }
        for row in drift.filter(pl.col("part") != CONTRAST).iter_rows(named=True)
    ]


_DISTANCES = {"noisy": "noisy", "clean": "floor", "permuted": "ceiling"}

show(page)
