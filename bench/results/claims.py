"""A study's claims put to its rows: each with verdict, effect and interval, or why it cannot be tested here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from bench.errors import UserError
from bench.results.entrants import axes_text
from bench.results.opening import Opened
from bench.results.text import budget_text, list_text, metric_text
from bench.stats.claims import NOT_TESTABLE, VERDICTS, Claim, Part, verdicts

STATED = VERDICTS | {"statement": pl.String()}
_METRIC = re.compile(r"(\w+)\.(\w+?)(?:@(\d+|all))?")
_ROW_FIELDS = ("protocol", "layer", "fuse", "partner", "encoder")
_FORM = "PROTOCOL.METRIC@LABELS, e.g. linear.balanced_accuracy@10"


def claims_table(opened: Opened, *, level: float = 0.95) -> pl.DataFrame:
    """The claims of the study, in its order.

    Returns:
        The columns of `bench.stats.claims.verdicts` and `statement`, what is claimed in words; empty where the study
        states none. A claim whose entrants are not there, or not unique, is `not testable here`, with the reason.
    """
    stated = (opened.study.spec.get("claims") or ()) if opened.study else ()
    rows = opened.rows.filter(pl.col("status") == "ok")
    found: list[tuple[str, str, Claim | str]] = []
    for place, item in enumerate(stated):
        item = item if isinstance(item, Mapping) else {}
        name = str(item.get("name") or f"claim {place + 1}")
        if name in {other for other, _, _ in found}:
            name = f"{name} ({place + 1})"
        found.append((name, _statement(item), _claim(name, item, opened, rows)))
    known = [claim for _, _, claim in found if isinstance(claim, Claim)]
    tested = verdicts(rows, opened.test_items, known, level=level).to_dicts() if known else []
    records = []
    for name, statement, claim in found:
        missing = {"claim": name, "verdict": NOT_TESTABLE, "part": 0, "part_verdict": NOT_TESTABLE, "reason": claim}
        lines = [missing] if isinstance(claim, str) else [line for line in tested if line["claim"] == name]
        records += [line | {"statement": statement} for line in lines]
    return pl.DataFrame(records, schema=STATED)


def _claim(name: str, item: Mapping[str, Any], opened: Opened, rows: pl.DataFrame) -> Claim | str:
    """The claim as the statistics read it, or why it cannot be tested."""
    match = _METRIC.fullmatch(str(item.get("metric", "")))
    if match is None:
        return f"metric {item.get('metric')!r} is not understood; valid: {_FORM}"
    protocol, metric, budget = match.groups()
    if metric not in rows.columns or not rows[metric].dtype.is_numeric() or rows[metric].null_count() == rows.height:
        return f"no row was measured in {metric_text(metric)}"
    sides = [_entrant(side, item.get(side), protocol, opened, rows) for side in ("better", "worse")]
    missing = [side.args[0] for side in sides if isinstance(side, UserError)]
    if missing:
        return "; ".join(missing)
    better, worse = (str(side) for side in sides)
    margin = item.get("margin")
    try:
        quantity = "score" if budget else "area"
        part = Part(better, worse, quantity, budget, metric, float(margin) if margin else None)  # type: ignore[arg-type]
    except UserError as error:
        return str(error)
    return Claim(name, (part,))


def _entrant(side: str, wanted: object, protocol: str, opened: Opened, rows: pl.DataFrame) -> str | UserError:
    """The one entrant that a side of a claim means; the error, returned, says why there is none."""
    if not isinstance(wanted, Mapping) or not wanted:
        return UserError(f"{side}: names no setting")
    part = rows.filter(pl.col("protocol") == wanted.get("protocol", protocol))
    lines = part.select("entrant", "method", "axes", *_ROW_FIELDS).unique(maintain_order=True)
    options = (opened.study.spec.get("methods") or {}) if opened.study else {}
    names: set[str] = {line["entrant"] for line in lines.iter_rows(named=True) if _means(line, wanted, options)}
    if len(names) == 1:
        return names.pop()
    if not names:
        return UserError(f"{side}: no rows of {_setting(wanted)} under {wanted.get('protocol', protocol)}")
    return UserError(f"{side}: {_setting(wanted)} means {len(names)} entrants: {list_text(sorted(names))}")


def _means(line: Mapping[str, Any], wanted: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether an entrant has every value that a side of a claim names: `method.axis`, `method`, `layer` and so on."""
    axes = {**(options.get(line["method"]) or {}), **json.loads(line["axes"] or "{}")}
    for key, value in wanted.items():
        method, dot, axis = str(key).partition(".")
        if key in _ROW_FIELDS:
            same = line[key] == value
        elif key == "method":
            same = line["method"] == value
        else:
            same = line["method"] == method and (not dot or (axis in axes and bool(axes[axis] == value)))
        if not same:
            return False
    return True


def _statement(item: Mapping[str, Any]) -> str:
    match = _METRIC.fullmatch(str(item.get("metric", "")))
    measured = str(item.get("metric", ""))
    if match:
        where = f"at {budget_text(match[3])}" if match[3] else "over all budgets"
        measured = f"{match[1]} {metric_text(match[2])} {where}"
    margin = (
        f" by more than {item['margin']:g}" if isinstance(item.get("margin"), float | int) and item["margin"] else ""
    )
    return f"{_setting(item.get('better'))} beats {_setting(item.get('worse'))}{margin} in {measured}"


def _setting(side: object) -> str:
    """`mae[mask_ratio=0.75]` from `{"mae.mask_ratio": 0.75}`."""
    if not isinstance(side, Mapping) or not side:
        return "nothing"
    methods: dict[str, dict[str, Any]] = {}
    for key, value in side.items():
        method, dot, axis = str(key).partition(".")
        if key == "method":
            methods.setdefault(str(value), {})
        elif dot or key not in _ROW_FIELDS:
            methods.setdefault(method, {}).update({axis: value} if dot else {})
    rest = axes_text(json.dumps({key: side[key] for key in _ROW_FIELDS if key in side}))
    texts = [f"{method}[{axes_text(json.dumps(axes))}]" if axes else method for method, axes in methods.items()]
    return " ".join([*texts, *([rest] if rest else [])])
