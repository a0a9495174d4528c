"""The leaderboard in a terminal: best first, the finding as its last line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from bench.results.budgets import budget_text
from bench.results.grouping import Lines
from bench.results.leaderboard import Board
from bench.results.summary import finding, goal_text, reference_text
from bench.results.table import GROUP_LINES, LINES, board_table, replicates_text, section, shared_tags
from bench.results.text import footnotes, metric_text
from bench.store.datasets import shown_name

__all__ = ["board_notes", "heading", "print_board", "render", "replicates_text", "shared_tags"]


def render(
    board: Board, *, width: int = 100, unicode: bool = True, everyone: bool = True, groups: Sequence[Lines] = ()
) -> RenderableType:
    """The board as a table with a heading, footnotes and the finding.

    Args:
        width: columns of the terminal.
        unicode: whether the terminal shows block characters.
        everyone: show all lines, not the first of the board (or of each group) and the references alone.
        groups: the lines of the board in groups, each under its title; empty means in one piece.
    """
    most = None if everyone else GROUP_LINES if len(groups) > 1 else LINES
    parts = groups or (Lines("", board.frame),)
    sections = [section(part.lines, most, part.title) for part in parts]
    table = board_table(board, sections, width=width, unicode=unicode)
    notes = [Text(note, style="dim") for note in board_notes(board)]
    return Group(heading(board), Text(), table, Text(), *notes, Text(finding(board).sentence, style="bold"))


def print_board(
    board: Board, console: Console | None = None, *, everyone: bool = True, groups: Sequence[Lines] = ()
) -> None:
    """Prints the board at the width of the console; `everyone` and `groups` as in `render`."""
    console = console or Console()
    unicode = (console.encoding or "").lower().startswith("utf")
    console.print(render(board, width=console.width, unicode=unicode, everyone=everyone, groups=groups))


def heading(board: Board) -> Text:
    """`mae-mask-ratio on fashion_mnist  410 of 966 rows`."""
    study = board.study
    name = f"{study.name} on {shown_name(study.data.get('name', '?'))}" if study else "all rows"
    rows = f"{board.present:,} rows"
    if board.present < board.promised:
        rows = f"{board.present:,} of {board.promised:,} rows"
    return Text(name, style="bold") + Text(f"  {rows}", style="not bold dim")


def _where(board: Board) -> str:
    if board.budget is not None:
        return f"at {budget_text(board.budget, board.protocols)}"
    if board.span is None:
        return "area under each entrant's own curve"
    return f"area under the curve, {board.span[0]:,} to {board.span[1]:,} labels"


def board_notes(board: Board) -> list[str]:
    """What the score and the signs mean, whom labels saved are measured against, why entrants failed."""
    notes = [f"score: {metric_text(board.metric)}, {_where(board)}"]
    notes += [note for note in (board.baseline, board.elsewhere) if note]
    marks = [*board.frame["score_mark"], *board.frame["saved_mark"]]
    notes += footnotes(marks)
    if board.reference:
        goal = f"to reach {goal_text(board)}" if board.target is not None else "for the same score"
        against = f"labels saved: how many times the labels {reference_text(board)} needs {goal}"
        notes.append(f"{against}, {board.level * 100:g} % interval")
        undefined = board.ranked.filter(board.ranked["saved"].is_null())["saved_reason"].drop_nulls().unique().sort()
        notes += [f"labels saved is - where {reason}" for reason in undefined]
    else:
        notes.append(f"labels saved: undefined, the reference ({', '.join(board.reference_names)}) has no rows yet")
    notes += [f"all entrants: {tag}" for tag in sorted(shared_tags(board))]
    failed = board.frame.filter(board.frame["score"].is_null())
    reasons = failed.select("entrant", "reason").drop_nulls().iter_rows()
    return notes + [f"{entrant}: {reason}" for entrant, reason in reasons]
