"""The leaderboard as a LaTeX table in booktabs style."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.results.leaderboard import Board
from bench.results.summary import finding, reference_text
from bench.results.table import shared_tags
from bench.results.text import footnotes, metric_text, saved_text, score_text

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "†": r"$\star$",  # the dagger is taken: not significantly different from the best
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "¶": r"\P{}",
    ">=": r"$\ge$",
    "<=": r"$\le$",
}
_PATTERN = re.compile("|".join(re.escape(key) for key in sorted(_SPECIAL, key=len, reverse=True)))

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # a blank line would end the caption


def latex_table(board: Board) -> str:
    """A `table` environment: entrant, score, labels saved, replicates; the finding as caption. Needs booktabs.

    The best score is bold. A dagger marks those that are not significantly different from it: their rank's interval
    reaches the first place.
    """
    shared = shared_tags(board)
    lines = [_line(row, shared) for row in board.frame.iter_rows(named=True)]
    tied = (
        r" $\dagger$: not significantly different from the best." if any(map(_is_tied, board.frame.to_dicts())) else ""
    )
    told = [f"all entrants: {tag}" for tag in sorted(shared)]
    notes = footnotes([*board.frame["score_mark"], *board.frame["saved_mark"]])
    against = f"Labels saved are measured against {reference_text(board)}." if board.reference else ""
    caption = " ".join(
        part for part in (finding(board).sentence, against, *(f"{note}." for note in [*notes, *told])) if part
    )
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{escaped(caption)}{tied}}}",
            r"  \begin{tabular}{rlrrl}",
            r"    \toprule",
            rf"    & Entrant & {escaped(metric_text(board.metric).capitalize())} & Labels saved & Seeds, draws \\",
            r"    \midrule",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """The text with LaTeX's special characters, and ours, spelled out."""
    return _PATTERN.sub(lambda match: _SPECIAL[match[0]], _CONTROL.sub(" ", text))


def _is_tied(row: Mapping[str, Any]) -> bool:
    """Whether an entrant behind the best may be as good."""
    return row["place"] is not None and row["place"] > 1 and row["rank_low"] == 1


def _line(row: Mapping[str, Any], shared: set[str]) -> str:
    score = escaped(score_text(row["score"], row["score_low"], row["score_high"], row["score_mark"]))
    if row["place"] == 1:
        score = rf"\textbf{{{score}}}"
    elif _is_tied(row):
        score = rf"{score} $\dagger$"
    saved = saved_text(
        row["saved"], row["saved_low"], row["saved_high"], row["saved_censored"], row["saved_mark"], times="×"
    )
    tags = [tag for tag in row["tags"] or [] if tag not in shared]
    status = f" ({', '.join(tags)})" if tags else ""
    place = "--" if row["place"] is None else str(row["place"])
    counts = "--" if row["draws"] is None else f"{row['seeds'] or '--'}, {row['draws']}"
    cells = [place, escaped(row["entrant"] + status), score, escaped(saved), counts]
    return f"    {' & '.join(cells)} \\\\"
