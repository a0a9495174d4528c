"""The leaderboard in a terminal: readable in 100 columns, best first, the finding as its last line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.results.leaderboard import Board
from bench.results.summary import finding, reference_text
from bench.results.text import (
    budget_text,
    footnotes,
    metric_text,
    saved_text,
    score_text,
    seconds_text,
    sparkline,
)

_WIDE = 116  # from this width on, the curve and the search have columns of their own


def render(board: Board, *, width: int = 100, unicode: bool = True) -> RenderableType:
    """The board as a table with a heading, footnotes and the finding.

    Args:
        width: columns of the terminal.
        unicode: whether the terminal shows block characters.
    """
    wide = width >= _WIDE and unicode
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold", expand=False)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("entrant", overflow="fold")
    table.add_column(_score_heading(board), justify="right", no_wrap=True)
    table.add_column("labels saved", justify="right", no_wrap=True)
    if wide:
        table.add_column("curve", no_wrap=True)
    table.add_column("seeds\nx draws", justify="right", no_wrap=True)
    table.add_column("pretrain", justify="right", no_wrap=True)
    if wide:
        table.add_column("search", justify="right", no_wrap=True)
    shared = shared_tags(board)
    for row in board.frame.iter_rows(named=True):
        table.add_row(*_cells(row, wide, shared), style="dim" if row["score"] is None else "")
    notes = [Text(note, style="dim") for note in board_notes(board)]
    return Group(heading(board), Text(), table, Text(), *notes, Text(finding(board).sentence, style="bold"))


def print_board(board: Board, console: Console | None = None) -> None:
    """Prints the board at the width of the console."""
    console = console or Console()
    unicode = (console.encoding or "").lower().startswith("utf")
    console.print(render(board, width=console.width, unicode=unicode))


def heading(board: Board) -> Text:
    """`mae-mask-ratio on fashion_mnist  410 of 966 rows`."""
    study = board.study
    name = f"{study.name} on {study.data.get('name', '?')}" if study else "all rows"
    rows = f"{board.present:,} rows"
    if board.present < board.promised:
        rows = f"{board.present:,} of {board.promised:,} rows"
    return Text(name, style="bold") + Text(f"  {rows}", style="not bold dim")


def _score_heading(board: Board) -> str:
    return "score" if board.budget is None else f"score at {board.budget}"


def _where(board: Board) -> str:
    if board.budget is not None:
        return f"at {budget_text(board.budget)}"
    if board.span is None:
        return "area under each entrant's own curve"
    return f"area under the curve, {board.span[0]:,} to {board.span[1]:,} labels"


def _cells(row: Mapping[str, Any], wide: bool, shared: set[str]) -> list[RenderableType]:
    mark = row["score_mark"]
    score = score_text(row["score"], row["score_low"], row["score_high"], mark, digits=3)
    saved = saved_text(
        row["saved"], row["saved_low"], row["saved_high"], row["saved_censored"], _news(row["saved_mark"], mark)
    )
    curve = [sparkline([point["score"] for point in row["budgets"] or []])] if wide else []
    search = [seconds_text(row["search_seconds"])] if wide else []
    return [
        "-" if row["place"] is None else str(row["place"]),
        _name(row, shared),
        score,
        saved,
        *curve,
        replicates_text(row),
        seconds_text(row["pretrain_seconds"]),
        *search,
    ]


def _name(row: Mapping[str, Any], shared: set[str]) -> Text:
    """The entrant, and below it what to know before trusting it."""
    tags = [tag for tag in row["tags"] or [] if tag not in shared]
    name = Text(row["entrant"])
    if row["is_reference"]:
        name.append(" (reference)", style="dim")
    if tags:
        name.append(f"\n  {', '.join(tags)}", style="yellow")
    elif row["score"] is None:
        name.append("\n  not measured here", style="dim")
    return name


def shared_tags(board: Board) -> set[str]:
    """Tags that all entrants of several have: told once, below the table."""
    tags = [set(found) for found in board.frame["tags"]]
    return set.intersection(*tags) if len(tags) > 1 else set()


def replicates_text(row: Mapping[str, Any], times: str = "x") -> str:
    """`5 x 5`; `- x 5` for an entrant that has no seed; `-` where nothing was scored."""
    if row["draws"] is None:
        return "-"
    return f"{row['seeds'] or '-'} {times} {row['draws']}"


def _news(mark: str | None, told: str | None) -> str:
    """The parts of a mark that the column before does not tell already."""
    parts = set((told or "").split(", "))
    return ", ".join(part for part in (mark or "").split(", ") if part not in parts)


def board_notes(board: Board) -> list[str]:
    """What the signs mean, whom labels saved are measured against, why entrants failed."""
    notes = [f"score: {metric_text(board.metric)}, {_where(board)}"]
    marks = [*board.frame["score_mark"], *board.frame["saved_mark"]]
    notes += footnotes(marks)
    if board.reference:
        against = f"labels saved: how many times the labels {reference_text(board)} needs for the same score"
        notes.append(f"{against}, {board.level * 100:g} % interval")
        undefined = board.ranked.filter(board.ranked["saved"].is_null())["saved_reason"].drop_nulls().unique().sort()
        notes += [f"labels saved is - where {reason}" for reason in undefined]
    else:
        notes.append(f"labels saved: undefined, the reference ({', '.join(board.reference_names)}) has no rows yet")
    notes += [f"all entrants: {tag}" for tag in sorted(shared_tags(board))]
    failed = board.frame.filter(board.frame["score"].is_null())
    reasons = failed.select("entrant", "reason").drop_nulls().iter_rows()
    return notes + [f"{entrant}: {reason}" for entrant, reason in reasons]
