"""Claims: what the study set out to show, and what its rows say to that."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import streamlit as st

from bench.results.claim_words import part_text
from bench.results.text import count_text, footnotes, list_text
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
        if first["statement"]:
            st.markdown(plain(f"{first['statement']}."))
        rows = parts.to_dicts()
        for row in rows:
            st.markdown(plain(part_text(row, rows)))


show(page)
