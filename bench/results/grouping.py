"""A leaderboard in groups: by data set (a study of each), by method, or by the values of its axes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import UserError, unknown
from bench.results.entrants import axes_text
from bench.results.leaderboard import Board
from bench.results.opening import Opened, studies

DATASET = "dataset"
NO_AXIS = "no axis"


@dataclass(frozen=True)
class Lines:
    """Lines of a board that belong together, best first; their scores and places are those of the whole board."""

    title: str
    lines: pl.DataFrame


def grouped(opened: Opened, board: Board, by: str) -> list[Lines]:
    """The lines of a board in groups: by method the best group first, by axis in the order of its values.

    Args:
        opened: what the board was made from.
        by: "method", or "axis": an entrant with several axes stands in one group of each.
    """
    return _GROUPINGS[by](opened, board)


def check_grouping(by: str | None) -> None:
    """Raises:
    UserError: no such grouping.
    """
    if by is not None and by not in BY:
        raise unknown("grouping", by, BY, "--by")


def newest_of_each_dataset(root: Path) -> list[str]:
    """Keys of the newest study of every data set, by name of the data set.

    Raises:
        UserError: no study is there.
    """
    newest: dict[str, str] = {}
    for study in studies(root):
        newest.setdefault(str(study.data.get("name", "?")), study.key)
    if not newest:
        raise UserError(f"--by {DATASET}: no study in {root}; run one first")
    return [newest[name] for name in sorted(newest)]


def _by_method(opened: Opened, board: Board) -> list[Lines]:
    names = board.frame["method"].unique(maintain_order=True)
    return [Lines(name, board.frame.filter(pl.col("method") == name)) for name in names]


def _by_axis(opened: Opened, board: Board) -> list[Lines]:
    members: dict[tuple[str, str], list[str]] = {}
    order: dict[tuple[str, str], tuple[str, bool, Any]] = {}
    for entrant, text in opened.rows.select("entrant", "axes").unique(maintain_order=True).iter_rows():
        for axis, value in (json.loads(text) if text else {}).items():
            number = isinstance(value, int | float)
            key = (axis, axes_text(json.dumps({axis: value})))
            members.setdefault(key, []).append(entrant)
            order[key] = (axis, not number, value if number else str(value))
    found = [Lines(key[1], _lines(board, members[key])) for key in sorted(members, key=lambda key: order[key])]
    rest = board.frame.filter(~pl.col("entrant").is_in([name for names in members.values() for name in names]))
    return [part for part in (*found, Lines(NO_AXIS, rest)) if part.lines.height]


def _lines(board: Board, entrants: list[str]) -> pl.DataFrame:
    return board.frame.filter(pl.col("entrant").is_in(entrants))


_GROUPINGS: dict[str, Callable[[Opened, Board], list[Lines]]] = {"method": _by_method, "axis": _by_axis}
BY = (DATASET, *_GROUPINGS)
