"""The leaderboard as a LaTeX table in booktabs style."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.results.leaderboard import Board
from bench.results.summary import finding, reference_text
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
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "¶": r"\P{}",
    ">=": r"$\ge$",
    "<=": r"$\le$",
}
_PATTERN = re.compile("|".join(re.escape(key) for key in sorted(_SPECIAL, key=len, reverse=True)))


def latex_table(board: Board) -> str:
    """A `table` environment: entrant, score, labels saved, replicates; the finding as caption. Needs booktabs."""
    lines = [_line(row) for row in board.frame.iter_rows(named=True)]
    notes = footnotes([*board.frame["score_mark"], *board.frame["saved_mark"]])
    against = f"Labels saved are measured against {reference_text(board)}." if board.reference else ""
    caption = " ".join(part for part in (finding(board).sentence, against, *(f"{note}." for note in notes)) if part)
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{escaped(caption)}}}",
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
    return _PATTERN.sub(lambda match: _SPECIAL[match[0]], text)


def _line(row: Mapping[str, Any]) -> str:
    score = score_text(row["score"], row["score_low"], row["score_high"], row["score_mark"])
    saved = saved_text(
        row["saved"], row["saved_low"], row["saved_high"], row["saved_censored"], row["saved_mark"], times="×"
    )
    status = f" ({', '.join(row['tags'])})" if row["tags"] else ""
    place = "--" if row["place"] is None else str(row["place"])
    counts = "--" if row["draws"] is None else f"{row['seeds'] or '--'}, {row['draws']}"
    cells = [place, escaped(row["entrant"] + status), escaped(score), escaped(saved), counts]
    return f"    {' & '.join(cells)} \\\\"
