"""Claims in words: what one states, what its parts measured, and the lines of a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from bench.errors import UserError
from bench.results.budgets import budget_text
from bench.results.entrants import axes_text
from bench.results.text import deciding_text, factor_text, metric_text
from bench.study.claims import LABELS_SAVED, ROW_FIELDS, comparisons, parse_metric


def statements(claim: Mapping[str, Any]) -> list[str]:
    """What each part of a claim says; a part that names no sides says nothing."""
    return [_part(part) if part.get("better") or part.get("worse") else "" for part in comparisons(claim)]


def effect_text(row: Mapping[str, Any]) -> str:
    """One part of a verdict as a sentence: effect, interval, p, margin; or why it cannot be tested."""
    if row["effect"] is None:
        return f"It cannot be tested here: {row['reason'] or 'measurements are missing'}."
    factor = row["quantity"] == LABELS_SAVED
    shown = (lambda value: factor_text(value, times="×")) if factor else "{:+.3f}".format
    interval = "" if row["low"] is None else f" ({shown(row['low'])} to {shown(row['high'])})"
    text = f"{'The factor of labels saved' if factor else 'The difference'} is {shown(row['effect'])}{interval}"
    if row["p_holm"] is not None:
        text += f", p = {row['p_holm']:.3f}" if row["p_holm"] >= 0.001 else ", p < 0.001"
    if row["margin"] and (row["margin"] != 1 or not factor):
        text += f"; the margin was {row['margin']:g}{'×' if factor else ''}"
    more = deciding_text(row)
    return f"{text}.{f' {more}' if more else ''}"


def claim_lines(table: pl.DataFrame) -> list[str]:
    """The verdicts of `bench.results.claims.claims_table` as text: a line a claim, its parts indented below."""
    lines: list[str] = []
    if table.is_empty():
        return lines
    for name in table["claim"].unique(maintain_order=True):
        parts = table.filter(pl.col("claim") == name).to_dicts()
        lines.append(f"{parts[0]['verdict']}: {name}")
        lines += [f"  {part_text(part, parts)}" for part in parts]
    return lines


def part_text(part: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> str:
    """What one of the parts of a claim measured; what tells it from the other parts, and its verdict, lead."""
    text = effect_text(part)
    if len(parts) < 2 or part["better"] is None:
        return text
    budgets = {other["label_budget"] for other in parts}
    sides = {(other["better"], other["worse"]) for other in parts}
    where = f"at budget {part['label_budget']}" if part["label_budget"] and len(budgets) > 1 else ""
    who = "" if where and len(sides) == 1 else f"{part['better']} against {part['worse']}"
    return f"{' '.join(filter(None, (who, where)))}, {part['part_verdict']}: {text[0].lower()}{text[1:]}"


def setting_text(side: object) -> str:
    """`mae[mask_ratio=0.75]` from `{"mae.mask_ratio": 0.75}`."""
    if not isinstance(side, Mapping) or not side:
        return "nothing"
    methods: dict[str, dict[str, Any]] = {}
    for key, value in side.items():
        method, dot, axis = str(key).partition(".")
        if key == "method":
            methods.setdefault(str(value), {})
        elif dot or key not in ROW_FIELDS:
            methods.setdefault(method, {}).update({axis: value} if dot else {})
    rest = axes_text(json.dumps({key: side[key] for key in ROW_FIELDS if key in side}))
    texts = [f"{method}[{axes_text(json.dumps(axes))}]" if axes else method for method, axes in methods.items()]
    return " ".join([*texts, *([rest] if rest else [])])


def _part(part: Mapping[str, Any]) -> str:
    better, worse = setting_text(part.get("better")), setting_text(part.get("worse"))
    margin = part.get("margin")
    try:
        protocol, metric, budget, quantity = parse_metric(part)
    except UserError:
        return f"{better} beats {worse} in {part.get('metric')}"
    by = f" by more than {margin:g}" if isinstance(margin, float | int) and margin else ""
    where = f"at {budget_text(budget, [protocol])}" if budget else "over all budgets"
    measured = f"{protocol} {metric_text(metric)} {where}"
    if quantity == LABELS_SAVED:
        same = f"the same {protocol} {metric_text(metric)}"
        by = f" {'by more than a factor of ' if part.get('two_sided') else 'more than '}{margin:g}" if by else ""
        if part.get("two_sided"):
            return f"{better} and {worse} need different numbers of labels{by} for {same}"
        return f"{better} needs{by}{'×' if by else ''} fewer labels than {worse} for {same}"
    if part.get("two_sided"):
        return f"{better} and {worse} differ{by} in {measured}"
    return f"{better} beats {worse}{by} in {measured}"
