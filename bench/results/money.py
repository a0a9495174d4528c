"""Amounts of money as people read them, in whatever currency the reader's prices are."""

from __future__ import annotations

import math


def amount_text(value: float | None) -> str:
    """`12,400`, `58.20`, `0.05`, `0.0005`; `-` where it is not known."""
    if value is None or not math.isfinite(value):
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 0.1 or value == 0:
        return f"{value:.2f}"
    return f"{value:.2g}" if value >= 1e-4 else f"{value:.1e}"


def cost_text(value: float | None, low: float | None, high: float | None, censored: str | None = "") -> str:
    """`58.20 (51.00 to 66.40)`; an open end reads `from 51.00` or `up to 66.40`, a bound `≤ 58.20`."""
    if value is None or not math.isfinite(value):
        return "-"
    sign = {">=": "≥ ", "<=": "≤ "}.get(censored or "", "")
    ends = [end if end is not None and math.isfinite(end) and end > 0 else None for end in (low, high)]
    closed = f"{amount_text(ends[0])} to {amount_text(ends[1])}" if None not in ends else ""
    opened = f"from {amount_text(ends[0])}" if ends[0] is not None else f"up to {amount_text(ends[1])}"
    interval = closed or (opened if ends != [None, None] else "")
    return f"{sign}{amount_text(value)}{f' ({interval})' if interval else ''}"
