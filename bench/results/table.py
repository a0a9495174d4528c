"""The lines of a leaderboard as a terminal table: where it is too narrow, what matters least goes first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from rich.table import Table
from rich.text import Text

from bench.results.leaderboard import Board
from bench.results.text import saved_text, score_text, seconds_text, sparkline

LINES = 20  # entrants shown of a board, the reference entrants not counted
GROUP_LINES = 5  # the same for each group
_GAP = 2
_COLUMNS = ("place", "entrant", "score", "saved", "curve", "replicates", "pretrain", "search")
_DROPPED = ("search", "curve", "replicates", "pretrain")  # first to last
_SHORTENED = ("entrant", "saved", "score")  # once nothing is left to drop, first to last
_LEFT = ("entrant", "curve")


@dataclass(frozen=True)
class Section:
    """Lines of a board under a title; `hidden` counts those that are left out."""

    title: str
    lines: pl.DataFrame
    hidden: int


@dataclass(frozen=True)
class _Look:
    """Which columns a table has, and which of them tell less than they could."""

    columns: tuple[str, ...]
    brief: frozenset[str] = frozenset()


def section(lines: pl.DataFrame, most: int | None, title: str = "") -> Section:
    """The first lines and every reference entrant; all of them where `most` is None."""
    if most is None:
        return Section(title, lines, 0)
    kept = lines.with_row_index("line").filter((pl.col("line") < most) | pl.col("is_reference")).drop("line")
    return Section(title, kept, lines.height - kept.height)


def board_table(board: Board, sections: Sequence[Section], *, width: int, unicode: bool = True) -> Table:
    """The sections as one table, in the richest look that fits into `width` columns; the poorest folds names.

    Args:
        unicode: whether the terminal shows block characters.
    """
    shared = shared_tags(board)
    found = [_filled(board, sections, look, shared) for look in _looks(unicode)]
    return next((table for table, wide in found if wide <= width), found[-1][0])


def _looks(unicode: bool) -> Iterator[_Look]:
    columns = tuple(name for name in _COLUMNS if unicode or name != "curve")
    yield _Look(columns)
    for dropped in _DROPPED:
        columns = tuple(name for name in columns if name != dropped)
        yield _Look(columns)
    for place in range(len(_SHORTENED)):
        yield _Look(columns, frozenset(_SHORTENED[: place + 1]))


def _filled(board: Board, sections: Sequence[Section], look: _Look, shared: set[str]) -> tuple[Table, int]:
    """The table in this look, and the width it needs to fold nothing."""
    headings = [_heading(board, name, name in look.brief) for name in look.columns]
    lines: list[tuple[list[Text], str]] = []
    for part in sections:
        if part.title:
            lines.append((_alone(part.title, look), "bold"))
        for row in part.lines.iter_rows(named=True):
            cells = [_CELLS[name](row, name in look.brief, shared) for name in look.columns]
            lines.append((cells, "dim" if row["score"] is None else ""))
        if part.hidden:
            lines.append((_alone(f"… and {part.hidden} more (bench leaderboard --all)", look), "dim"))
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold", expand=False)
    for name, heading in zip(look.columns, headings, strict=True):
        side = "left" if name in _LEFT else "right"
        table.add_column(heading, justify=side, no_wrap=name != "entrant", overflow="fold")  # type: ignore[arg-type]
    for cells, style in lines:
        table.add_row(*cells, style=style)
    columns = zip(map(Text, headings), *(cells for cells, _ in lines), strict=True)
    return table, sum(max(map(_width, column)) + _GAP for column in columns) - _GAP


def _alone(text: str, look: _Look) -> list[Text]:
    """A line that holds a text in the place of an entrant and nothing else."""
    return [Text(text if name == "entrant" else "") for name in look.columns]


def _width(cell: Text) -> int:
    return max((line.cell_len for line in cell.split("\n")), default=0)


def _heading(board: Board, column: str, brief: bool) -> str:
    saved = "saved" if brief else "labels saved"
    return {
        "place": "",
        "score": "score" if board.budget is None else f"score at {board.budget}",
        "saved": saved if board.target is None else f"{saved}\nat {board.target:g}",
        "replicates": "seeds\nx draws",
    }.get(column, column)


def _entrant(row: Mapping[str, Any], brief: bool, shared: set[str]) -> Text:
    """The entrant, and below it what to know before trusting it."""
    tags = [tag for tag in row["tags"] or [] if tag not in shared]
    name = Text(row["entrant"])
    if row["is_reference"]:
        name.append(" (ref)" if brief else " (reference)", style="dim")
    if tags:
        name.append(f"\n  {', '.join(tags)}", style="yellow")
    elif row["score"] is None:
        name.append("\n  not measured here", style="dim")
    return name


def _score(row: Mapping[str, Any], brief: bool, shared: set[str]) -> Text:
    digits = 2 if brief else 3
    return Text(score_text(row["score"], row["score_low"], row["score_high"], row["score_mark"], digits=digits))


def _saved(row: Mapping[str, Any], brief: bool, shared: set[str]) -> Text:
    low, high = (None, None) if brief else (row["saved_low"], row["saved_high"])
    mark = "" if brief else _news(row["saved_mark"], row["score_mark"])
    return Text(saved_text(row["saved"], low, high, row["saved_censored"], mark))


def _news(mark: str | None, told: str | None) -> str:
    """The parts of a mark that the column before does not tell already."""
    parts = set((told or "").split(", "))
    return ", ".join(part for part in (mark or "").split(", ") if part not in parts)


_CELLS: dict[str, Callable[[Mapping[str, Any], bool, set[str]], Text]] = {
    "place": lambda row, brief, shared: Text("-" if row["place"] is None else str(row["place"])),
    "entrant": _entrant,
    "score": _score,
    "saved": _saved,
    "curve": lambda row, brief, shared: Text(sparkline([point["score"] for point in row["budgets"] or []])),
    "replicates": lambda row, brief, shared: Text(replicates_text(row)),
    "pretrain": lambda row, brief, shared: Text(seconds_text(row["pretrain_seconds"])),
    "search": lambda row, brief, shared: Text(seconds_text(row["search_seconds"])),
}


def shared_tags(board: Board) -> set[str]:
    """Tags that all entrants of several have: told once, below the table."""
    tags = [set(found) for found in board.frame["tags"]]
    return set.intersection(*tags) if len(tags) > 1 else set()


def replicates_text(row: Mapping[str, Any], times: str = "x") -> str:
    """`5 x 5`; `- x 5` for an entrant that has no seed; `-` where nothing was scored."""
    if row["draws"] is None:
        return "-"
    return f"{row['seeds'] or '-'} {times} {row['draws']}"
