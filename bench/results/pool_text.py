"""Pooled studies as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from bench.results.pool import Pool
from bench.results.text import metric_text


def table(pool: Pool) -> str:
    """A line an entrant and budget: score and difference to the reference, with the intervals over the parts."""
    head = (
        f"{pool.name}: {metric_text(pool.metric)} over {len(pool.parts)} parts, each held out once "
        f"({'; '.join(pool.parts)}); intervals over the parts"
    )
    lines = [_line(row) for row in pool.frame.iter_rows(named=True)]
    widths = [max(len(line[column]) for line in [_HEADER, *lines]) for column in range(len(_HEADER))]
    shown = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (_HEADER, *lines)
    ]
    return "\n".join([head, "", *(line.rstrip() for line in shown)])


_HEADER = ("labels", "entrant", "score", "difference", "against")


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    difference = "" if row["difference"] is None else _with_interval("difference", "difference_", row, "+.3f")
    return (
        str(row["label_budget"]),
        str(row["entrant"]),
        _with_interval("score", "", row, ".3f"),
        difference,
        row["against"] or "",
    )


def _with_interval(name: str, prefix: str, row: Mapping[str, Any], form: str) -> str:
    low, high = row[f"{prefix}low"], row[f"{prefix}high"]
    interval = "" if low is None or high is None else f" ({low:{form}} to {high:{form}})"
    return f"{row[name]:{form}}{interval}"


FORMS: Mapping[str, Callable[[Pool], str]] = {
    "table": table,
    "csv": lambda pool: pool.frame.write_csv().rstrip("\n"),
    "json": lambda pool: json.dumps(pool.frame.to_dicts(), indent=1),
}
