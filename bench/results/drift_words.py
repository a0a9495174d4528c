"""Layer drift in words: which blocks to freeze, how encoder and decoder compare, and the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
from rich.table import Table

from bench.results.text import list_text
from bench.store.drift import CONTRAST, DECODER, ENCODER

LEGEND = (
    "Drift 0: as far from a clean pretraining as another clean one; 1: as far as one on permuted labels. d: mean "
    "distance 1 - linear CKA to clean pretrainings; no drift where permuted labels move a block no further than "
    "another seed does."
)


def drift_table(lines: pl.DataFrame) -> Table:
    """The blocks of one setting, those of encoder and decoder apart."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    table.add_column("block", no_wrap=True)
    for name in ("drift", "interval", "d noisy", "d clean", "d permuted"):
        table.add_column(name, justify="right")
    for part in (ENCODER, DECODER):
        rows = lines.filter(pl.col("part") == part).sort("place").to_dicts()
        if rows:
            table.add_row(f"[dim]{part}[/]")
        for row in rows:
            distances = [f"{row[name]:.3f}" for name in ("noisy", "floor", "ceiling")]
            table.add_row(f"  {row['block']}", number(row["drift"]), between(row), *distances)
    return table


def advice(lines: pl.DataFrame) -> str:
    """Which blocks to freeze in a setting, with the options of the protocol segmentation that do so."""
    first = lines.row(0, named=True)
    blocks = lines.filter(pl.col("part") == ENCODER).sort("place")["block"].to_list()
    count, threshold = first["frozen_blocks"], f"{first['threshold']:g}"
    if count == 0:
        return (
            f"Freeze nothing: the drift of {blocks[0]} is not known to lie below {threshold}. "
            "Segmentation: {encoder_state: trained}"
        )
    if count == len(blocks):
        told = f"Freeze all of {list_text(blocks)}: their drift lies below {threshold}."
        return f"{told} Segmentation: {{encoder_state: frozen}}"
    return (
        f"Freeze {list_text(blocks[:count])}, whose drift lies below {threshold}; train {list_text(blocks[count:])}. "
        f"Segmentation: {{encoder_state: partial, frozen_blocks: {count}}}"
    )


def comparison(lines: pl.DataFrame) -> str:
    """Whether the encoder's blocks drift less than the decoder's; empty where there is no decoder."""
    found = lines.filter(pl.col("part") == CONTRAST).to_dicts()
    if not found:
        return ""
    row = found[0]
    if row["low"] is None or row["high"] is None:
        verdict = "Whether encoder blocks drift less than decoder blocks is not known"
    elif row["high"] < 0:
        verdict = "Encoder blocks drift less than decoder blocks"
    elif row["low"] > 0:
        verdict = "Encoder blocks drift more than decoder blocks"
    else:
        verdict = "Whether encoder blocks drift less than decoder blocks is undecided"
    return f"{verdict}: mean difference {number(row['drift'])} ({between(row)})."


def setting_text(row: Mapping[str, Any]) -> str:
    """`noise=flip, rate=0.5: 21 % of the pixels wrong, 38 % of the information lost`."""
    parts = [
        f"{row[name]:.0%} of {what}".replace("%", " %")
        for name, what in (
            ("realised_noise_rate", "the pixels wrong"),
            ("information_loss", "the information lost"),
        )
        if row[name] is not None
    ]
    return f"{row['setting']}: {', '.join(parts)}" if parts else str(row["setting"])


def number(value: float | None) -> str:
    """A drift with its sign where it is below zero, `-` where it is undefined."""
    return "-" if value is None else f"{value:.2f}"


def between(row: Mapping[str, Any]) -> str:
    """The interval, `up to` or `from` where one end is open, or `unknown`."""
    low, high = row["low"], row["high"]
    if low is None or high is None:
        return "unknown" if low is None and high is None else f"from {low:.2f}" if high is None else f"up to {high:.2f}"
    return f"{low:.2f} to {high:.2f}"
