"""From the command line to a leaderboard: where the results are, read once and again only when they changed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import polars as pl
import streamlit as st

from bench.results.leaderboard import Board, make_board, measured_metrics, saved_table
from bench.results.opening import Opened, Study, open_results, studies
from bench.results.palette import Style, styles
from bench.results.provenance import Code
from bench.study.lineage import current_sources, current_versions

ENVIRONMENT = "BENCH_RESULTS"
DEFAULT = "results"
_KEPT = 8  # versions of the results in memory: a few readers looking at a few studies


def results_root() -> Path:
    """`--results DIR` after `--`, else the environment variable BENCH_RESULTS, else ./results."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--results", default=os.environ.get(ENVIRONMENT) or DEFAULT)
    known, _ = parser.parse_known_args(sys.argv[1:])
    return Path(known.results).expanduser()


def stamp(root: Path) -> tuple[int, int]:
    """Changes whenever a fragment or a manifest is written: number of files and newest time of change, nanoseconds."""
    times = []
    for pattern in ("rows/*.parquet", "studies/*.json", "splits/*.parquet"):
        for path in root.glob(pattern):
            try:
                times.append(path.stat().st_mtime_ns)
            except OSError:  # gone between the listing and the look: a compaction is at work
                continue
    return len(times), max(times, default=0)


def load_studies(root: Path) -> list[Study]:
    """The studies of the root, newest first."""
    return _studies(root, stamp(root))


def load_results(root: Path, study: str | None) -> Opened:
    """The results of one study.

    Raises:
        UserError: nothing to read; the message says why.
    """
    return _opened(root, study, stamp(root))


def load_board(root: Path, study: str | None, metric: str | None, budget: str | None) -> Board:
    """The leaderboard of one study.

    Raises:
        UserError: as `load_results`, or an unknown metric or budget.
    """
    return _board(root, study, metric, budget, stamp(root))


def load_saved(root: Path, study: str | None, metric: str | None) -> pl.DataFrame:
    """Labels saved at every budget."""
    return _saved(root, study, metric, stamp(root))


def load_styles(root: Path, study: str | None) -> dict[str, Style]:
    """How each entrant is drawn: from the order over all budgets, so that no choice of the reader's recolours it."""
    board = load_board(root, study, None, None)
    named = board.frame["entrant"].to_list()
    others = load_results(root, study).rows["entrant"].unique(maintain_order=True).to_list()
    return styles(list(dict.fromkeys([*named, *others])), board.reference)


def load_metrics(root: Path, study: str | None) -> list[str]:
    """The metrics that the study was measured in."""
    return measured_metrics(load_results(root, study))


@st.cache_resource(show_spinner=False, max_entries=_KEPT)
def _studies(root: Path, stamp: tuple[int, int]) -> list[Study]:
    return studies(root)


@st.cache_resource(show_spinner="Reading the results", max_entries=_KEPT)
def _opened(root: Path, study: str | None, stamp: tuple[int, int]) -> Opened:
    return open_results(root, study)


@st.cache_resource(show_spinner="Computing intervals", max_entries=8 * _KEPT)
def _board(root: Path, study: str | None, metric: str | None, budget: str | None, stamp: tuple[int, int]) -> Board:
    code = Code(current_versions(), current_sources())
    return make_board(_opened(root, study, stamp), metric=metric, budget=budget, code=code)


@st.cache_resource(show_spinner="Computing intervals", max_entries=8 * _KEPT)
def _saved(root: Path, study: str | None, metric: str | None, stamp: tuple[int, int]) -> pl.DataFrame:
    return saved_table(_opened(root, study, stamp), metric=metric)
