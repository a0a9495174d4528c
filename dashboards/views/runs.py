"""Pretraining runs: what is running now, every pretraining of the study, how losses fell and probes rose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from bench.results.pictures import pictures
from bench.results.progress import Progress, running
from bench.results.run_figures import loss_figure, probe_figure
from bench.results.text import count_text, seconds_text
from dashboards.frame import heading, plain, show
from dashboards.loading import load_pretrainings, load_results, load_trials
from dashboards.looks import looked

CONFIG = {"displayModeBar": False, "responsive": True}


def page(root: Path, study: str | None) -> None:
    """Progress, list, curves."""
    opened, lines = load_results(root, study), load_pretrainings(root, study)
    trials = load_trials(root, study)
    heading(opened.study, *_words(lines))
    _live(root, looked(root))
    if lines.is_empty():
        st.info("No pretraining yet: the entrants so far learn from labels alone.")
        return
    methods = lines["method"].unique(maintain_order=True).to_list()
    chosen = st.pills("Methods", methods, selection_mode="multi", key="method", bind="query-params")
    shown = _with_setting(lines.filter(pl.col("method").is_in(chosen)) if chosen else lines, lines)
    if shown.is_empty():
        st.info("No pretraining matches the filters.")
        return
    _table(shown)
    _pictures(root, shown)
    _losses(shown)
    _probes(trials, shown["method"].unique(maintain_order=True).to_list())


def _with_setting(shown: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    """Those with a setting that the reader chose; the choice is there for methods that ran in several settings."""
    settings = [setting for setting in lines["setting"].unique(maintain_order=True) if setting]
    if len(settings) < 2:
        return shown
    chosen = st.pills("Settings", settings, selection_mode="multi", key="setting", bind="query-params")
    return shown.filter(pl.col("setting").is_in(chosen)) if chosen else shown


def _words(lines: pl.DataFrame) -> tuple[str, str]:
    bad = lines.filter(pl.col("status") != "ok")
    title = count_text(lines.height, "pretraining")
    if bad.height:
        title += f", {bad.height:,} of them not ok"
    total = lines["seconds"].sum()
    return title, f"{seconds_text(total)} of training in all, searches not counted." if total else ""


@st.fragment(run_every=5.0)
def _live(root: Path, seen: tuple[int, int]) -> None:
    """How far running studies are; the whole page again when they wrote new rows."""
    found = running(root)
    for item in found:
        st.progress(item.fraction, text=plain(item.news))
        with st.container(horizontal=True, gap="medium"):
            for label, value in _counts(item):
                st.metric(label, value, width="content")
    if not found:
        st.caption("Nothing is running here now.")
    elif looked(root) != seen:
        st.rerun(scope="app")


def _counts(item: Progress) -> list[tuple[str, str]]:
    counts = [("Pretrainings", f"{item.done:,} / {item.total:,}")]
    if item.trials:
        counts.insert(0, ("Trials", f"{item.trials_done:,} / {item.trials:,}"))
    counts.append(("Failed", f"{item.failed:,}"))
    counts.append(("Time left", seconds_text(item.seconds_left)))
    return counts


def _table(shown: pl.DataFrame) -> None:
    lines = [
        {
            "Method": row["method"],
            "Setting": row["setting"] or "-",
            "Encoder": row["encoder"],
            "Seed": "-" if row["seed"] is None else str(row["seed"]),
            "Status": row["status"]
            if row["status"] == "ok" or not row["reason"]
            else f"{row['status']}: {row['reason']}",
            "Loss": [loss for loss in row["losses"] or [] if loss is not None],
            "Last loss": next((loss for loss in reversed(row["losses"] or []) if loss is not None), None),
            "Time": seconds_text(row["seconds"]),
            "Images a second": None if row["images_per_second"] is None else round(row["images_per_second"]),
            "Parameters": row["parameters"],
            "Rows": row["rows"],
            "Device": row["device"] or "-",
        }
        for row in shown.iter_rows(named=True)
    ]
    config = {
        "Method": st.column_config.TextColumn(width=105),
        "Setting": st.column_config.TextColumn(width=130),
        "Encoder": st.column_config.TextColumn(width=85),
        "Seed": st.column_config.TextColumn(width=45),
        "Status": st.column_config.TextColumn(width=70),
        "Loss": st.column_config.LineChartColumn(width=100, help="Mean of each epoch."),
        "Last loss": st.column_config.NumberColumn(width=75, format="%.3f"),
        "Time": st.column_config.TextColumn(width=60, help="Wall time, all sittings."),
        "Images a second": st.column_config.NumberColumn(width=115, format="localized"),
        "Parameters": st.column_config.NumberColumn(width=90, format="compact"),
        "Rows": st.column_config.NumberColumn(width=50, help="Measurements that rest on it."),
        "Device": st.column_config.TextColumn(width=100),
    }
    st.dataframe(lines, column_config=config, hide_index=True, key="table", alt="The pretrainings as a table")


def _pictures(root: Path, shown: pl.DataFrame) -> None:
    """What one pretraining saw and made of it, on validation images."""
    st.subheader("Pictures", anchor=False)
    found = {
        _run(row): row["pretrain_key"] for row in shown.iter_rows(named=True) if pictures(root, row["pretrain_key"])
    }
    if not found:
        st.caption(
            "No pictures: these methods draw none, or their encoders were kept by an older version, or were dropped to "
            "save space."
        )
        return
    of = st.selectbox("Pictures of", list(found), key="pictures", bind="query-params")
    sheets = [
        (picture.name, picture.read()) for picture in pictures(root, found.get(of or "", next(iter(found.values()))))
    ]
    for name, content in sheets:
        if content is None:
            st.caption(plain(f"{name}: the picture cannot be read."))
        else:
            st.image(content, caption=plain(name), width="content")
    st.caption("Validation images, the same for every pretraining of the study.")
    if any("episodes" in name for name, _ in sheets):
        st.caption(
            "Episodes are of generated test images, one a row: support under the mask that was handed over, query, its "
            "true mask, its pseudo mask, the prediction."
        )


def _run(row: Mapping[str, Any]) -> str:
    """`mae mask_ratio=0.75, seed 1`."""
    seed = "" if row["seed"] is None else f", seed {row['seed']}"
    return f"{' '.join(filter(None, (row['method'], row['setting'], row['encoder'])))}{seed}"


def _losses(shown: pl.DataFrame) -> None:
    st.subheader("Loss by epoch", anchor=False)
    known = shown.drop_nulls("losses")
    known = known.filter(pl.col("losses").list.drop_nulls().list.len() > 0)
    if known.is_empty():
        st.caption("No loss is on record: these methods do not train, or the records were dropped to save space.")
        return
    methods = known["method"].unique(maintain_order=True).to_list()
    of = st.segmented_control(
        "Losses of", methods, default=methods[0], required=True, wrap=True, key="losses", bind="query-params"
    )
    part = known.filter(pl.col("method") == (of if of in methods else methods[0]))
    st.plotly_chart(loss_figure(part), config=CONFIG, key="loss", alt="Loss over epochs, a line a pretraining")
    st.caption("One line a seed. Losses of different methods, and of different mask ratios, cannot be compared.")


def _probes(trials: pl.DataFrame, methods: list[str]) -> None:
    """Only where trials were judged more than once: one point is no curve."""
    found = trials.filter(pl.col("method").is_in(methods), pl.col("curve").list.len() > 1)
    for method in found["method"].unique(maintain_order=True):
        part = found.filter(pl.col("method") == method)
        st.subheader(plain(f"Probe of {method} by epoch"), anchor=False)
        st.plotly_chart(probe_figure(part), config=CONFIG, key=f"probe-{method}", alt="Objective at each rung")
        st.caption(plain(f"{part['objective'][0]} on validation images, one line a trial."))


show(page)
