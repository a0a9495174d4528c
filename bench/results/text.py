"""Numbers as people read them: scores, intervals, factors, times. One spelling for terminal, page and table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

# Why an interval is to be read with care, the sign it is given, and what the sign means.
MARKS = {
    "few seeds": ("*", "fewer than 5 seeds: the interval is wide or rough"),
    "one seed": ("‡", "one seed: the interval knows nothing of how seeds vary"),
    "one draw": ("§", "one draw: the interval knows nothing of which labels were bought"),
    "one noise realisation": ("#", "one noise realisation: the interval knows nothing of which labels were wrong"),
    "this test set only": ("†", "the interval holds for this test set, not for new test images"),
    "nothing complete": ("¶", "no seed and draw has all its measurements yet"),
}
_METRICS = {
    "macro_f1": "macro F1",
    "macro_auroc": "macro AUROC",
    "combined": "combined score",
    "miou": "mean IoU",
    "boundary_f1": "boundary F1",
    "nll": "NLL",
    "ece": "ECE",
}


def metric_text(metric: str) -> str:
    """The name of a metric as people write it."""
    return _METRICS.get(metric, metric.replace("_", " "))


def score_text(
    score: float | None, low: float | None, high: float | None, mark: str | None = "", digits: int = 3
) -> str:
    """`0.742 ± 0.021`, or `0.742 [0.701 0.752]` where the interval is lopsided; a mark where the interval needs one."""
    if score is None or not math.isfinite(score):
        return "-"
    sign = _mark(mark)
    if low is None or high is None or not math.isfinite(low) or not math.isfinite(high):
        return f"{score:.{digits}f}{sign}"
    below, above = score - low, high - score
    if abs(above - below) <= 0.1 * max(above, below, 10.0**-digits):
        return f"{score:.{digits}f} ± {(high - low) / 2:.{digits}f}{sign}"
    return f"{score:.{digits}f} [{low:.{digits}f} {high:.{digits}f}]{sign}"


def factor_text(factor: float | None, censored: str | None = "", times: str = "x") -> str:
    """`3.1x`, `>= 4.1x` or `<= 0.5x` where the other curve ends first, `-` where it is undefined."""
    if factor is None or not math.isfinite(factor):
        return "-"
    sign = f"{censored} " if censored else ""
    if times == "×":
        sign = sign.replace(">=", "≥").replace("<=", "≤")
    return f"{sign}{_factor(factor)}{times}"


def saved_text(
    factor: float | None,
    low: float | None,
    high: float | None,
    censored: str | None = "",
    mark: str | None = "",
    times: str = "x",
) -> str:
    """`3.1x (2.4 to 4.0)`; an open end of the interval reads `from 2.4` or `up to 4.0`."""
    text = factor_text(factor, censored, times)
    if text == "-":
        return text
    interval = interval_text(low, high)
    if censored and factor is not None and interval.endswith(f" {_factor(factor)}"):
        interval = ""  # the bound is the interval's one known end
    return f"{text} ({interval}){_mark(mark)}" if interval else f"{text}{_mark(mark)}"


def interval_text(low: float | None, high: float | None) -> str:
    """`2.4 to 4.0`, `from 2.4`, `up to 4.0`, or nothing where neither end is known; factors."""
    closed_low = low is not None and math.isfinite(low) and low > 0
    closed_high = high is not None and math.isfinite(high)
    if closed_low and closed_high:
        return f"{_factor(low)} to {_factor(high)}"
    if closed_low:
        return f"from {_factor(low)}"
    return f"up to {_factor(high)}" if closed_high else ""


def seconds_text(seconds: float | None) -> str:
    """`38 s`, `41 min`, `2.1 h`, `3.2 d`; `-` where nothing was spent or nothing is known."""
    if not seconds or not math.isfinite(seconds):
        return "-"
    for limit, unit, name in ((90.0, 1.0, "s"), (5400.0, 60.0, "min"), (172_800.0, 3600.0, "h")):
        if seconds < limit:
            value = seconds / unit
            return f"{value:.1f} {name}" if value < 9.95 and name == "h" else f"{value:.0f} {name}"
    return f"{seconds / 86_400:.1f} d"


def count_text(count: int, noun: str, plural: str | None = None) -> str:
    """`1 seed`, `5 seeds`, `12,000 images`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def list_text(names: list[str] | tuple[str, ...], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def deciding_text(row: Mapping[str, Any]) -> str:
    """What would decide a part of a claim that its rows left undecided; a line of `bench.stats.claims.verdicts`."""
    if row["part_verdict"] != "undecided":
        return ""
    if row["reason"]:
        return f"It is {row['reason']}."
    counts = [(row["seeds_to_decide"], "seed"), (row["draws_to_decide"], "draw")]
    needed = [count_text(count, noun) for count, noun in counts if count]
    if not needed:
        return "More seeds and draws alone would not decide it: it takes more test images."
    return f"Were the effect as it is now, {list_text(needed, 'or')} would decide it."


def sparkline(values: list[float]) -> str:
    """The values as a row of blocks, the lowest as the lowest block."""
    if not values:
        return ""
    blocks = "▁▂▃▄▅▆▇█"
    low, span = min(values), max(values) - min(values)
    return "".join(blocks[round((value - low) / span * 7) if span else 3] for value in values)


def signs(mark: str | None) -> str:
    """The signs of a comma-joined mark, e.g. `*†`."""
    return "".join(sign for name, (sign, _) in MARKS.items() if name in _split(mark))


def footnotes(marks: Iterable[str | None]) -> list[str]:
    """What every sign in use means, each once."""
    used = {name for mark in marks for name in _split(mark)}
    return [f"{sign} {meaning}" for name, (sign, meaning) in MARKS.items() if name in used]


def _split(mark: str | None) -> list[str]:
    return [part.strip() for part in (mark or "").split(",")]


def _mark(mark: str | None) -> str:
    sign = signs(mark)
    return f" {sign}" if sign else ""


def _factor(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 99.5:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.95 else f"{value:.2f}"
