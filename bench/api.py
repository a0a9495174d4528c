"""The front doors from Python: run a study, read its leaderboard as a frame, draw its figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from rich.console import Console

from bench.results.leaderboard import leaderboard as _leaderboard
from bench.results.leaderboard import make_board
from bench.results.opening import open_results
from bench.results.provenance import Code
from bench.store.mirror import open_place
from bench.study.lineage import current_sources, current_versions
from bench.study.load import find_study, load_study
from bench.study.spec import Study

if TYPE_CHECKING:
    import plotly.graph_objects as go


def run_study(
    study: str | Path | Study | None = None,
    *,
    overrides: Sequence[str] = (),
    results: str | Path = "results",
    address: str | None = None,
    log: Sequence[str] = (),
    quiet: bool = False,
) -> pl.DataFrame:
    """Runs what the store lacks of a study and returns its leaderboard.

    Args:
        study: a study, its file, or the name of one that comes with bench; None is the quick start.
        overrides: `KEY=VALUE`, as on the command line.
        results: the results folder, or an address such as s3://bucket/prefix.
        address: of a Ray cluster; None joins the one that runs here, or starts one.
        log: live loggers, by name: tensorboard, mlflow, wandb, aim; they write under RESULTS/logs.
        quiet: print nothing.

    Raises:
        bench.errors.UserError: the study, the data or the machine cannot do what is asked.
    """
    from bench.engine.runner import run

    resolved = study if isinstance(study, Study) else load_study(find_study(_text(study)), overrides)
    root = open_place(results)
    summary = run(resolved, root, Console(quiet=quiet), address, log)
    return leaderboard(root, study=summary.study_key)


def leaderboard(
    results: str | Path = "results", *, study: str | None = None, metric: str | None = None
) -> pl.DataFrame:
    """The leaderboard of a study (default: the newest); columns as in `bench.results.leaderboard.leaderboard`."""
    return _leaderboard(open_place(results), study=study, metric=metric, code=current_code())


def figures(
    results: str | Path = "results", *, study: str | None = None, metric: str | None = None
) -> dict[str, go.Figure]:
    """The figures of a study (default: the newest) as Plotly figures, which a notebook shows by themselves.

    Args:
        results: the results folder, or an address.
        study: name or key.
        metric: column of the scores; None: that of the leaderboard.

    Returns:
        By name: "curves" (score against labels), "labels_saved", "leaderboard" (a forest plot with intervals), and
        "plane_1" and on where a study of label noise has planes. They show the best entrants and the references.

    Raises:
        bench.errors.UserError: no results there, or no such study or metric.
    """
    from bench.results.figure_files import board_figures

    opened = open_results(open_place(results), study)
    return board_figures(opened, make_board(opened, metric=metric))


def curves(results: str | Path = "results", *, study: str | None = None, metric: str | None = None) -> go.Figure:
    """Score against label budget, a line with its interval for each entrant; arguments and errors as `figures`."""
    return figures(results, study=study, metric=metric)["curves"]


def current_code() -> Code:
    """The code as it stands, for telling which rows are stale."""
    return Code(current_versions(), current_sources())


def _text(study: str | Path | None) -> str | None:
    return None if study is None else str(study)
