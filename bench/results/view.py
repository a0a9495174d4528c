"""What `bench leaderboard` is asked for, the boards that answer it, and the formats other than the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from bench.results.claims import claims_table
from bench.results.grouping import DATASET, Lines, check_grouping, grouped, newest_of_each_dataset
from bench.results.latex import latex_table
from bench.results.leaderboard import Board, make_board
from bench.results.opening import NoResultsError, open_results
from bench.results.provenance import Code
from bench.results.share import share_lines, shares_table
from bench.results.supervision import mask_lines
from bench.results.tables import csv_text, json_text


@dataclass(frozen=True)
class View:
    """What to show of a results root.

    Attributes:
        study: name or key; None means the newest, or with `by` "dataset" the newest of every data set.
        metric, budget, target: as `bench.results.leaderboard.make_board` takes them.
        by: "dataset", "method" or "axis"; None means in one piece.
        everyone: whether a table shows every entrant.
    """

    study: str | None = None
    metric: str | None = None
    budget: str | None = None
    target: float | None = None
    by: str | None = None
    everyone: bool = False


@dataclass(frozen=True)
class Shown:
    """A board, its lines in groups (none where it is shown in one piece), the verdicts on the study's claims, and the
    shares of a gain: what noisy labels keep, what masks add to image labels (none where the study has none)."""

    board: Board
    groups: tuple[Lines, ...] = ()
    claims: pl.DataFrame = field(default_factory=pl.DataFrame)
    shares: tuple[str, ...] = ()

    @property
    def lines(self) -> pl.DataFrame:
        """Every line of the board; in groups, with the group's title as the first column."""
        if not self.groups:
            return self.board.frame
        return pl.concat([part.lines.select(pl.lit(part.title).alias("group"), pl.all()) for part in self.groups])


def show(root: Path, view: View, code: Code | None = None) -> list[Shown]:
    """The boards that a view asks for: one, or one for each data set.

    Raises:
        UserError: no results, or an unknown study, metric, budget, target or grouping.
    """
    check_grouping(view.by)
    if view.by != DATASET or view.study is not None:
        return [_one(root, view.study, view, code)]
    found: list[Shown] = []
    nothing: NoResultsError | None = None
    for study in newest_of_each_dataset(root):
        try:
            found.append(_one(root, study, view, code))
        except NoResultsError as error:  # a study that has just begun does not hide the others
            nothing = error
    if nothing is not None and not found:
        raise nothing
    return found


def _one(root: Path, study: str | None, view: View, code: Code | None) -> Shown:
    opened = open_results(root, study)
    board = make_board(opened, metric=view.metric, budget=view.budget, target=view.target, code=code)
    claims = claims_table(opened)
    shares = (*share_lines(shares_table(opened, board.metric)), *mask_lines(opened))
    if view.by is None:
        return Shown(board, claims=claims, shares=shares)
    if view.by == DATASET:
        name = board.study.data.get("name", "?") if board.study else "?"
        return Shown(board, (Lines(str(name), board.frame),), claims, shares)
    return Shown(board, tuple(grouped(opened, board, view.by)), claims, shares)


def _csv(found: Sequence[Shown]) -> str:
    return csv_text([(shown.board, shown.lines) for shown in found])


def _json(found: Sequence[Shown]) -> str:
    return json_text([(shown.board, shown.lines) for shown in found])


def _latex(found: Sequence[Shown]) -> str:
    parts = [replace(shown.board, frame=part.lines) for shown in found for part in shown.groups]
    return "\n".join(latex_table(board) for board in parts or [shown.board for shown in found])


FORMATS: dict[str, Callable[[Sequence[Shown]], str]] = {"csv": _csv, "json": _json, "latex": _latex}
