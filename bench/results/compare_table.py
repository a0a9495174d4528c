"""A comparison of two bundles in a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.results.compare import BETTER, SAME, WORSE, Comparison
from bench.results.text import count_text, metric_text

_STYLES = {BETTER: "green", WORSE: "red"}


def comparison_table(comparison: Comparison) -> RenderableType:
    """Every entrant that is not the same in both, what it may come from, and the balance as the last line."""
    frame = comparison.frame
    changed = frame.filter(pl.col("verdict") != SAME)
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("entrant", overflow="fold")
    for name in ("A", "B", "B - A"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for row in changed.iter_rows(named=True):
        entrant = Text(row["entrant"])
        for reason in row["reasons"]:
            entrant.append(f"\n  {reason}", style="dim")
        verdict = Text(row["verdict"], style=_STYLES.get(row["verdict"], ""))
        table.add_row(entrant, _score(row["before"]), _score(row["after"]), _change(row), verdict)
    notes = [f"score: {metric_text(comparison.metric)}, area under the curve over the label budgets that both have"]
    notes.append(f"B - A: {comparison.level * 100:g} % interval; verdict: Holm's correction over all entrants")
    notes += [f"all of these: {reason}" for reason in comparison.common]
    notes += [f"study: {change}" for change in comparison.study]
    shown: list[RenderableType] = (
        [table, Text(), *(Text(note, style="dim") for note in notes)] if changed.height else []
    )
    return Group(*shown, Text(balance(comparison), style="bold"))


def balance(comparison: Comparison) -> str:
    """`43 entrants: 40 same rows, 2 better, 1 undecided.`"""
    counts = comparison.frame["verdict"].value_counts(sort=True).iter_rows()
    found = ", ".join(f"{count} {verdict}" for verdict, count in counts)
    return f"{count_text(comparison.frame.height, 'entrant')}: {found or 'nothing to compare'}."


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"


def _change(row: Mapping[str, Any]) -> str:
    if row["change"] is None:
        return "-"
    ends = [row["low"], row["high"]]
    known = all(end is not None and math.isfinite(end) for end in ends)
    return f"{row['change']:+.3f}" + (f" [{ends[0]:+.3f} {ends[1]:+.3f}]" if known else "")
