"""What every page has: its look, the study's name, the finding, a run's progress, and calm words for no results."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas  # noqa: F401  whole before any page: plotly trips over one that another reader's page is loading
import polars as pl
import streamlit as st

from bench.errors import UserError
from bench.results.leaderboard import Board
from bench.results.opening import NoResultsError, Study
from bench.results.progress import running
from bench.results.summary import finding
from bench.results.text import count_text
from bench.store.datasets import shown_name
from dashboards.loading import load_studies, results_root
from dashboards.looks import stamp

# A constant text: nothing that was read from results is ever put into markup.
_STYLE = """
<style>
.stMainBlockContainer { max-width: 1128px; padding: 4.75rem 2rem 4rem; }
h1 { letter-spacing: -0.01em; line-height: 1.18 !important; text-wrap: balance; padding: 0 0 0.35rem !important; }
.stPlotlyChart .annotation-text { fill: currentColor !important; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding-left: 1rem; padding-right: 1rem; }
  h1 { font-size: 1.6rem !important; }
}
</style>
"""
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+\-.!$:|~^])")


def plain(text: str) -> str:
    """The text with every character escaped that Markdown, LaTeX or Streamlit's directives would read as markup."""
    return _MARKDOWN.sub(r"\\\1", text.replace("\n", " "))


def look() -> None:
    """The style sheet of every page."""
    st.html(_STYLE)


def show(draw: Callable[[Path, str | None], None]) -> None:
    """Draws a page for the study that the reader chose, or says why there is nothing to draw."""
    root = results_root()
    try:
        draw(root, choose_study(root))
    except NoResultsError as error:
        no_results(root, error)
    except (UserError, pl.exceptions.PolarsError, OSError) as error:
        broken(error)


def heading(study: Study | None, title: str, below: str = "") -> None:
    """The study's facts, a page's title and a line below it, all as plain text."""
    st.caption(plain(_facts(study)))
    st.title(plain(title), anchor=False)
    if below:
        st.markdown(plain(below))


def choose_study(root: Path) -> str | None:
    """The key of the study to show; a selector where there are several. None where no manifest is there."""
    found = load_studies(root)
    if not found:
        return None
    if len(found) == 1:
        return found[0].key
    labels = _labels(found)
    chosen = st.selectbox("Study", list(labels), format_func=str, key="study", bind="query-params")
    return labels.get(chosen or "", found[0].key)


def headline(board: Board) -> None:
    """Study, finding as the page's title, and below it whom the claim is against and what it costs."""
    found = finding(board, times="×")
    facts = _facts(board.study)
    if board.present < board.promised:
        facts += f" · {board.present:,} of {board.promised:,} rows so far"
    st.caption(plain(facts))
    st.title(plain(found.claim), anchor=False)
    parts = []
    if found.against:
        parts.append(f"than {found.against}{f' ({found.interval})' if found.interval else ''}.")
    if found.cost:
        parts.append(f"It costs {found.cost}.")
    if parts or found.caveat:
        st.markdown(plain(" ".join([*parts, found.caveat]).strip()))


def no_results(root: Path, error: UserError) -> None:
    """What to do when there is nothing to show."""
    st.title("No results yet", anchor=False)
    st.markdown(plain(str(error)))
    st.markdown("A first study takes minutes on a laptop:")
    st.code("bench run search_spaces/quickstart.yaml\nbench dashboard", language="bash")
    st.caption(f"This page reads {plain(str(root))} and shows results as soon as the first rows are there.")
    _wait(root, stamp(root))


def broken(error: Exception) -> None:
    """A calm word where results are there and cannot be shown."""
    st.title("These results cannot be shown", anchor=False)
    st.error(plain(str(error) or type(error).__name__))
    st.caption("Rows already written are safe. Once the cause is mended, reload the page.")


@st.fragment(run_every=5.0)
def progress_line(root: Path) -> None:
    """How far running studies are; nothing where none runs."""
    for item in running(root):
        st.progress(item.fraction, text=plain(f"{item.study}: {item.line}"))


@st.fragment(run_every=5.0)
def _wait(root: Path, seen: tuple[int, int]) -> None:
    """Shows how far a run is, and the whole page again as soon as something new is written."""
    for item in running(root):
        st.progress(item.fraction, text=plain(f"{item.study}: {item.line}"))
    if stamp(root) != seen:
        st.rerun(scope="app")


def _labels(found: Sequence[Study]) -> dict[str, str]:
    """What studies are called in the selector: the name, with the head of the key where a name stands for several."""
    names = [study.name for study in found]
    return {
        study.name if names.count(study.name) == 1 else f"{study.name} ({study.key[:8]})": study.key for study in found
    }


def _facts(study: Study | None) -> str:
    if study is None:
        return "All rows of this folder"
    classes, tests = len(study.data.get("class_names") or ()), study.data.get("n_test")
    parts = [study.name, shown_name(str(study.data.get("name", "")))]
    if classes:
        parts.append(count_text(classes, "class", "classes"))
    if tests:
        parts.append(count_text(int(tests), "test image"))
    return " · ".join(part for part in parts if part)
