"""What noisy labels keep of the gain that clean labels bring: in words, beside the claims of a study."""

from __future__ import annotations

import json

import polars as pl

from bench.results.opening import Opened
from bench.stats.share import SHARES, shares

METHOD, BASELINE = "noisy_labels", "random_init"
_JUDGED = ("encoder", "protocol", "protocol_options", "layer", "fuse")


def shares_table(opened: Opened, metric: str, *, level: float = 0.95) -> pl.DataFrame:
    """The columns of `bench.stats.share.shares` for every entrant that learned from noisy labels.

    The whole is what clean labels gain over random initialisation of the same network under the same protocol; empty
    where either is missing.

    Args:
        opened: a study with its rows.
        metric: a score column.
        level: of the intervals.
    """
    rows = opened.scored(metric)
    noise = pl.col("axes").map_elements(_noise, return_dtype=pl.String)
    rows = rows.with_columns(pl.when(pl.col("method") == METHOD).then(noise).alias("noise"))
    tables = []
    for _, part in rows.group_by(_JUDGED, maintain_order=True):
        names = {
            "ceiling": _entrants(part.filter(pl.col("noise") == "clean")),
            "noisy": _entrants(part.filter(pl.col("noise") == "noisy")),
            "baseline": _entrants(part.filter(pl.col("method") == BASELINE)),
        }
        if names["noisy"] and len(names["ceiling"]) == len(names["baseline"]) == 1:
            table = shares(
                part,
                opened.test_items,
                entrants=names["noisy"],
                ceiling=names["ceiling"][0],
                baseline=names["baseline"][0],
                metric=metric,
                level=level,
            )
            tables.append(table)
    return pl.concat(tables) if tables else pl.DataFrame(schema=SHARES)


def share_lines(table: pl.DataFrame) -> list[str]:
    """The table as text: a headline, and a line an entrant with its share at each budget."""
    if table.is_empty():
        return []
    lines = ["share of the gain of clean labels over random weights that noisy labels keep (95 % interval), by budget:"]
    for (entrant,), part in table.group_by("entrant", maintain_order=True):
        lines.append(f"  {entrant}: {', '.join(_text(**row) for row in part.iter_rows(named=True))}")
    return lines


def _text(label_budget: str, share: float | None, low: float | None, high: float | None, **_: object) -> str:
    """`16: 71 % (60 to 82)`, or that there is no gain to share."""
    if share is None:
        return f"{label_budget}: no gain to share"
    interval = "" if low is None or high is None else f" ({100 * low:.0f} to {100 * high:.0f})"
    return f"{label_budget}: {100 * share:.0f} %{interval}"


def _noise(axes: str | None) -> str | None:
    """`clean` at rate 0, `noisy` at any other; None where the study has no axis of it."""
    values = json.loads(axes or "{}")
    if "rate" not in values and "noise" not in values:
        return None
    return "clean" if values.get("rate") == 0 or values.get("noise") == "none" else "noisy"


def _entrants(rows: pl.DataFrame) -> list[str]:
    return sorted(rows["entrant"].unique().to_list())
