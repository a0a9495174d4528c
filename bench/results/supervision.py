"""What masks are worth beside image labels in few-shot learning: in words, beside the claims of a study."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from bench.results.entrants import IDENTITY, entrant_names
from bench.results.opening import Opened
from bench.stats.gap import chance, gaps
from bench.stats.share import shares

PROTOCOL = "few_shot"
_METRIC_WORDS = {"exact_ratio": "exact ratio", "miou": "mIoU"}
_VARIED = ("supervision", "mask_share")


class Supervised(NamedTuple):
    """One encoder judged under several kinds of supervision, all else equal.

    Attributes:
        name: as an entrant that leaves the supervision open, e.g. `dino + few_shot`.
        rows: of all of them.
        entrants: by supervision and share of masks, e.g. ("mixed", 0.1).
    """

    name: str
    rows: pl.DataFrame
    entrants: dict[tuple[str, float], str]


def supervised(opened: Opened) -> list[Supervised]:
    """The encoders that were judged with image labels and with masks."""
    rows = opened.rows.filter(pl.col("status") == "ok", pl.col("protocol") == PROTOCOL)
    if rows.is_empty():
        return []
    options = [json.loads(text or "{}") for text in rows["protocol_options"]]
    others = [{name: value for name, value in line.items() if name not in _VARIED} for line in options]
    rows = rows.with_columns(
        pl.Series("kind", [str(line.get("supervision")) for line in options]),
        pl.Series("masked", [float(line.get("mask_share") or 0) for line in options]),
        pl.Series("protocol_options", [json.dumps(line, sort_keys=True) for line in others]),
    )
    parts = [part for _, part in rows.group_by(IDENTITY, maintain_order=True)]
    names = entrant_names([part.select(IDENTITY).row(0, named=True) for part in parts])
    found = []
    for name, part in sorted(zip(names, parts, strict=True), key=lambda pair: pair[0]):
        entrants = {
            (str(kind), float(share)): str(entrant)
            for kind, share, entrant in part.select("kind", "masked", "entrant").unique().sort("masked").iter_rows()
        }
        if {("image", 0.0), ("pixel", 1.0)} <= entrants.keys():
            found.append(Supervised(name, part, entrants))
    return found


def mask_lines(opened: Opened, *, level: float = 0.95) -> list[str]:
    """The gap between masks and image labels relative to chance, and how much of it a share of the masks closes.

    Empty where no encoder was judged under both.
    """
    parts = supervised(opened)
    if not parts:
        return []
    lines = [f"(pixel - image) / (pixel - chance), {100 * level:g} % interval, by shots:"]
    for part in parts:
        lines += [f"  {line}" for line in _gap_lines(opened, part, level)]
    closed = [f"  {line}" for part in parts for line in _closed_lines(opened, part, level)]
    if closed:
        closing = f"share of pixel - image that some of the masks close, {100 * level:g} % interval, by shots:"
        lines += [closing, *closed]
    return lines


def _gap_lines(opened: Opened, part: Supervised, level: float) -> Iterator[str]:
    ends = {"pixel": part.entrants["pixel", 1.0], "image": part.entrants["image", 0.0]}
    table = gaps(part.rows, opened.test_items, baselines=chance(part.rows), level=level, **ends)
    for (metric,), lines in table.group_by("metric", maintain_order=True):
        told = ", ".join(_share_text(row, "pixel is at chance") for row in lines.iter_rows(named=True))
        yield f"{part.name}, {_METRIC_WORDS[str(metric)]} (chance {lines['chance'][0]:.3f}): {told}"


def _closed_lines(opened: Opened, part: Supervised, level: float) -> Iterator[str]:
    mixed = {entrant: share for (kind, share), entrant in part.entrants.items() if kind == "mixed"}
    if not mixed:
        return
    ends = {"ceiling": part.entrants["pixel", 1.0], "baseline": part.entrants["image", 0.0]}
    for metric, word in _METRIC_WORDS.items():
        table = shares(part.rows, opened.test_items, entrants=list(mixed), metric=metric, level=level, **ends)
        for (entrant,), lines in table.group_by("entrant", maintain_order=True):
            told = ", ".join(_share_text(row, "no gap to close") for row in lines.iter_rows(named=True))
            yield f"{part.name}, {word}, {100 * mixed[str(entrant)]:g} % of the masks: {told}"


def _share_text(row: dict[str, Any], otherwise: str) -> str:
    """`1: 71 % (60 to 82)`, or why there is no share."""
    if row["share"] is None:
        return f"{row['label_budget']}: {otherwise}"
    text, low, high = f"{row['label_budget']}: {100 * row['share']:.0f} %", row["low"], row["high"]
    return text if low is None or high is None else f"{text} ({100 * low:.0f} to {100 * high:.0f})"
