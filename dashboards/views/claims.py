"""Claims: what the study set out to show, and what its rows say to that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from bench.results.text import count_text, deciding_text, footnotes, list_text
from bench.stats.claims import NOT_TESTABLE, REFUTED, SUPPORTED, UNDECIDED
from dashboards.frame import heading, plain, progress_line, show
from dashboards.loading import load_claims, load_results

_ORDER = (SUPPORTED, REFUTED, UNDECIDED, NOT_TESTABLE)
_BADGES = {
    SUPPORTED: ("green", ":material/check:"),
    REFUTED: ("red", ":material/close:"),
    UNDECIDED: ("orange", ":material/pending:"),
    NOT_TESTABLE: ("gray", ":material/block:"),
}
_EXAMPLE = """claims:
  - name: masking more than half helps
    better: {mae.mask_ratio: 0.75}
    worse: {mae.mask_ratio: 0.25}
    metric: linear.balanced_accuracy@10
    margin: 0.01"""


def page(root: Path, study: str | None) -> None:
    """A list of the claims; what to write where there is none."""
    opened, table = load_results(root, study), load_claims(root, study)
    if table.is_empty():
        heading(opened.study, "This study states no claims", "A claim is written before the study runs, in its file:")
        st.code(_EXAMPLE, language="yaml")
        return
    heading(
        opened.study, _title(table), "Intervals are at Holm's level over all claims that can be tested: 95 % jointly."
    )
    progress_line(root)
    for name in table["claim"].unique(maintain_order=True):
        _claim(str(name), table.filter(pl.col("claim") == name))
    notes = footnotes(table["mark"])
    st.caption("  \n".join(plain(note) for note in notes))


def _title(table: pl.DataFrame) -> str:
    verdicts = table.group_by("claim", maintain_order=True).first()["verdict"].to_list()
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in _ORDER if verdict in verdicts]
    return f"{count_text(len(verdicts), 'claim')}: {list_text(counts)}"


def _claim(name: str, parts: pl.DataFrame) -> None:
    first = parts.row(0, named=True)
    colour, icon = _BADGES[first["verdict"]]
    with st.container(border=True):
        st.badge(first["verdict"], color=colour, icon=icon)  # type: ignore[arg-type]
        st.subheader(plain(name), anchor=False)
        st.markdown(plain(f"{first['statement']}."))
        for row in parts.iter_rows(named=True):
            st.markdown(plain(_effect(row)))


def _effect(row: Mapping[str, Any]) -> str:
    if row["effect"] is None:
        return f"It cannot be tested here: {row['reason'] or 'measurements are missing'}."
    interval = "" if row["low"] is None else f" ({row['low']:+.3f} to {row['high']:+.3f})"
    text = f"The difference is {row['effect']:+.3f}{interval}"
    if row["p_holm"] is not None:
        text += f", p = {row['p_holm']:.3f}" if row["p_holm"] >= 0.001 else ", p < 0.001"
    if row["margin"]:
        text += f"; the margin was {row['margin']:g}"
    more = deciding_text(row)
    return f"{text}.{f' {more}' if more else ''}"


show(page)
