"""From the command line to a leaderboard: where the results are, read once and again only when they changed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import streamlit as st

from bench.results.at_target import target_table
from bench.results.claims import claims_table
from bench.results.importance import Importance, importance
from bench.results.leaderboard import Board, check_metric, make_board, measured_metrics, saved_table
from bench.results.opening import Opened, Study, open_results, studies
from bench.results.palette import Style, styles
from bench.results.plane import Plane, planes
from bench.results.pretrainings import pretrainings
from bench.results.provenance import Code
from bench.results.recall import class_recall
from bench.results.returns import Prices, returns
from bench.results.sweep import Axis, Line, lines
from bench.results.takeaway import Bundle, bundle_file, selected
from bench.results.trials import trials_of
from bench.store.drift import read_drift
from bench.store.mirror import open_place, refresh
from bench.study.lineage import current_sources, current_versions
from dashboards.looks import looked, noted, stamp

if TYPE_CHECKING:
    from bench.results.print_files import Draw

ENVIRONMENT = "BENCH_RESULTS"
DEFAULT = "results"
_TRIALS = ("trials/*.parquet", "studies/*.json")
_RECORDS = ("artifacts/encoders/*/training.json",)
_DRIFT = ("drift/*.parquet",)
_NOISY = "noisy_labels"  # the method whose rows say which labels were wrong
_REFRESH_SECONDS = 15.0
_KEPT = 8  # versions of the results in memory: a few readers looking at a few studies


def results_root() -> Path:
    """`--results PLACE` after `--`, else the environment variable BENCH_RESULTS, else ./results.

    What is new at an address is looked for at most every quarter of a minute.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--results", default=os.environ.get(ENVIRONMENT) or DEFAULT)
    known, _ = parser.parse_known_args(sys.argv[1:])
    root = open_place(known.results, fresh=False).expanduser()
    refresh(root, older_than=_REFRESH_SECONDS)
    return root


def content_of(root: Path, study: str | None) -> tuple[object, ...]:
    """Changes whenever the rows or the manifest of this study do, and with those of no other study.

    Raises:
        UserError: as `load_results`.
    """
    opened = load_results(root, study)
    manifest = (opened.study.key, opened.study.updated) if opened.study else ()
    rows = opened.rows  # one that failed may be settled later, under a clock that was set back
    return (*manifest, rows.height, (rows["status"] == "ok").sum(), rows["finished"].max())


def load_studies(root: Path) -> list[Study]:
    """The studies of the root, newest first."""
    return _studies(root, looked(root))


def load_results(root: Path, study: str | None) -> Opened:
    """The results of one study.

    Raises:
        UserError: nothing to read; the message says why.
    """
    return _opened(root, study, looked(root))


def load_board(root: Path, study: str | None, metric: str | None, budget: str | None) -> Board:
    """The leaderboard of one study.

    Raises:
        UserError: as `load_results`, or an unknown metric or budget.
    """
    metric = check_metric(load_results(root, study), metric)  # one board for the default and for its name
    return _board(root, study, metric, budget, content_of(root, study))


def load_saved(root: Path, study: str | None, metric: str | None) -> pl.DataFrame:
    """Labels saved at every budget."""
    return _saved(root, study, metric, content_of(root, study))


def load_styles(root: Path, study: str | None) -> dict[str, Style]:
    """How each entrant is drawn: from the order over all budgets, so that no choice of the reader's recolours it."""
    board = load_board(root, study, None, None)
    named = board.frame["entrant"].to_list()
    others = load_results(root, study).rows["entrant"].unique(maintain_order=True).to_list()
    return styles(list(dict.fromkeys([*named, *others])), board.reference)


def load_metrics(root: Path, study: str | None) -> list[str]:
    """The metrics that the study was measured in."""
    return measured_metrics(load_results(root, study))


def load_lines(root: Path, study: str | None, axis: Axis, metric: str, protocol: str, budget: str | None) -> list[Line]:
    """The responses of the score to an axis."""
    return _lines(root, study, axis, metric, protocol, budget, content_of(root, study))


def load_trials(root: Path, study: str | None) -> pl.DataFrame:
    """The trials of a study's searches.

    Raises:
        UserError: they cannot be read.
    """
    return _trials(root, study, stamp(root, _TRIALS))


def load_importance(root: Path, study: str | None, method: str) -> Importance:
    """How much each parameter of a method mattered to its trials.

    Raises:
        UserError: the trials cannot be read.
    """
    return _importance(root, study, method, stamp(root, _TRIALS))


def load_pretrainings(root: Path, study: str | None) -> pl.DataFrame:
    """The pretrainings of a study."""
    return _pretrainings(root, study, content_of(root, study), stamp(root, _RECORDS))


def load_claims(root: Path, study: str | None) -> pl.DataFrame:
    """The claims of a study with their verdicts."""
    return _claims(root, study, content_of(root, study))


def load_returns(root: Path, study: str | None, metric: str, target: float, prices: Prices) -> pl.DataFrame:
    """The total cost of each entrant to reach a target score."""
    return _returns(root, study, metric, target, prices, content_of(root, study))


def load_target(root: Path, study: str | None, metric: str, target: float) -> pl.DataFrame:
    """Labels needed and saved by each entrant at a target score."""
    return _target(root, study, metric, target, content_of(root, study))


def load_recall(root: Path, study: str | None, budget: str) -> pl.DataFrame:
    """Recall of every entrant in every class at a label budget.

    Raises:
        UserError: the rows cannot be read.
    """
    return _recall(root, study, budget, content_of(root, study))


def load_planes(root: Path, study: str | None, metric: str) -> list[Plane]:
    """The planes of noise and label budget; none where no label noise was varied."""
    return _planes(root, study, metric, content_of(root, study))


def load_drift(root: Path, study: str) -> pl.DataFrame | None:
    """Layer drift of a study; None where it was not measured."""
    return _drift(root, study, stamp(root, _DRIFT))


def has_noise(root: Path) -> bool:
    """Whether any study of the root pretrains on noisy labels."""
    return any(_NOISY in (study.spec.get("methods") or {}) for study in load_studies(root))


def load_drawings(root: Path, study: str | None, metric: str | None, entrants: tuple[str, ...]) -> dict[str, Draw]:
    """The figures for print of these entrants, by name."""
    return _drawings(root, study, metric, entrants, content_of(root, study))


def load_bundle(root: Path, study: str | None) -> Bundle:
    """The bundle of a study."""
    return _bundle(root, study, content_of(root, study), stamp(root, _TRIALS))


@st.cache_resource(show_spinner="Computing intervals", max_entries=_KEPT)
@noted
def _drawings(
    root: Path, study: str | None, metric: str | None, entrants: tuple[str, ...], content: tuple[object, ...]
) -> dict[str, Draw]:
    from bench.results.print_files import drawings  # matplotlib: only where figures for print are wanted

    board = selected(_board(root, study, metric, None, content), entrants)
    return drawings(load_results(root, study), board, load_styles(root, study))


@st.cache_resource(show_spinner="Computing intervals", max_entries=8 * _KEPT)
@noted
def _planes(root: Path, study: str | None, metric: str, content: tuple[object, ...]) -> list[Plane]:
    return planes(load_results(root, study), metric)


@st.cache_resource(show_spinner=False, max_entries=_KEPT)
def _drift(root: Path, study: str, stamp: tuple[int, int]) -> pl.DataFrame | None:
    return read_drift(root, study)


@st.cache_resource(show_spinner=False, max_entries=_KEPT)
def _studies(root: Path, stamp: tuple[int, int]) -> list[Study]:
    return studies(root)


@st.cache_resource(show_spinner="Reading the results", max_entries=2 * _KEPT)
@noted
def _opened(root: Path, study: str | None, stamp: tuple[int, int]) -> Opened:
    return open_results(root, study)


@st.cache_resource(show_spinner="Computing intervals", max_entries=8 * _KEPT)
@noted
def _board(root: Path, study: str | None, metric: str | None, budget: str | None, content: tuple[object, ...]) -> Board:
    return make_board(load_results(root, study), metric=metric, budget=budget, code=_code())


@st.cache_resource(show_spinner=False)
def _code() -> Code:
    """Today's code: read by one thread, as Python 3.11 cannot parse in two at once without a rare SystemError."""
    return Code(current_versions(), current_sources())


@st.cache_resource(show_spinner="Computing intervals", max_entries=8 * _KEPT)
@noted
def _saved(root: Path, study: str | None, metric: str | None, content: tuple[object, ...]) -> pl.DataFrame:
    return saved_table(load_results(root, study), metric=metric)


@st.cache_resource(show_spinner="Computing intervals", max_entries=8 * _KEPT)
@noted
def _lines(
    root: Path,
    study: str | None,
    axis: Axis,
    metric: str,
    protocol: str,
    budget: str | None,
    content: tuple[object, ...],
) -> list[Line]:
    return lines(load_results(root, study), axis, metric=metric, protocol=protocol, budget=budget)


@st.cache_resource(show_spinner=False, max_entries=_KEPT)
@noted
def _trials(root: Path, study: str | None, stamp: tuple[int, int]) -> pl.DataFrame:
    found = {item.key: item for item in load_studies(root)}
    return trials_of(root, found.get(study or ""))


@st.cache_resource(show_spinner="Weighing the parameters", max_entries=8 * _KEPT)
@noted
def _importance(root: Path, study: str | None, method: str, stamp: tuple[int, int]) -> Importance:
    return importance(_trials(root, study, stamp).filter(pl.col("method") == method))


@st.cache_resource(show_spinner="Reading the records", max_entries=8 * _KEPT)
@noted
def _pretrainings(root: Path, study: str | None, content: tuple[object, ...], records: tuple[int, int]) -> pl.DataFrame:
    return pretrainings(root, load_results(root, study).rows)


@st.cache_resource(show_spinner="Testing the claims", max_entries=8 * _KEPT)
@noted
def _claims(root: Path, study: str | None, content: tuple[object, ...]) -> pl.DataFrame:
    return claims_table(load_results(root, study))


@st.cache_resource(show_spinner="Computing intervals", max_entries=8 * _KEPT)
@noted
def _returns(
    root: Path, study: str | None, metric: str, target: float, prices: Prices, content: tuple[object, ...]
) -> pl.DataFrame:
    opened = load_results(root, study)
    board = _board(root, study, metric, None, content)
    scored = opened.scored(metric)
    asked = {"target": target, "prices": prices, "reference": board.reference, "metric": metric}
    return returns(scored, opened.test_items, **asked, arranged=opened.layout(metric))


@st.cache_resource(show_spinner="Computing intervals", max_entries=8 * _KEPT)
@noted
def _target(root: Path, study: str | None, metric: str, target: float, content: tuple[object, ...]) -> pl.DataFrame:
    reference = _board(root, study, metric, None, content).reference
    return target_table(load_results(root, study), target=target, metric=metric, reference=reference)


@st.cache_resource(show_spinner="Reading the classes", max_entries=8 * _KEPT)
@noted
def _recall(root: Path, study: str | None, budget: str, content: tuple[object, ...]) -> pl.DataFrame:
    return class_recall(root, load_results(root, study), budget)


@st.cache_resource(show_spinner="Making the bundle", max_entries=2)
@noted
def _bundle(root: Path, study: str | None, content: tuple[object, ...], trials: tuple[int, int]) -> Bundle:
    return bundle_file(root, study)
