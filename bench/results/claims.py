"""A study's claims put to its rows: each with verdict, effect and interval, or why it cannot be tested here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from bench.errors import UserError
from bench.results.claim_words import setting_text, statements
from bench.results.opening import Opened
from bench.results.text import list_text, metric_text
from bench.stats.claims import NOT_TESTABLE, VERDICTS, Claim, Part, verdicts
from bench.study.claims import ROW_FIELDS, comparisons, parse_metric
from bench.study.methods import METHODS
from bench.study.protocols import PROTOCOLS

STATED = VERDICTS | {"statement": pl.String(), "part_statement": pl.String()}


def claims_table(opened: Opened, *, level: float = 0.95) -> pl.DataFrame:
    """The claims of the study, in its order.

    Returns:
        The columns of `bench.stats.claims.verdicts`, `statement`, what is claimed in words, and `part_statement`, what
        the part of this line says; empty where the study states none. A claim whose entrants are not there, or not
        unique, or of which the study says that nothing here can test it, is `not testable here`, with the reason.
    """
    stated = (opened.study.spec.get("claims") or ()) if opened.study else ()
    rows = opened.rows.filter(pl.col("status") == "ok")
    found: list[tuple[str, list[str], Claim | str]] = []
    for place, item in enumerate(stated):
        item = item if isinstance(item, Mapping) else {}
        name = str(item.get("name") or f"claim {place + 1}")
        if name in {other for other, _, _ in found}:
            name = f"{name} ({place + 1})"
        found.append((name, statements(item), _claim(name, item, opened, rows)))
    known = [claim for _, _, claim in found if isinstance(claim, Claim)]
    tested = verdicts(rows, opened.test_items, known, level=level).to_dicts() if known else []
    records = []
    for name, words, claim in found:
        missing = {"claim": name, "verdict": NOT_TESTABLE, "part": 0, "part_verdict": NOT_TESTABLE, "reason": claim}
        lines = [missing] if isinstance(claim, str) else [line for line in tested if line["claim"] == name]
        whole = "; and ".join(filter(None, words))
        of_parts = words if len(lines) > 1 else [whole]
        records += [
            line | {"statement": whole, "part_statement": said} for line, said in zip(lines, of_parts, strict=True)
        ]
    return pl.DataFrame(records, schema=STATED)


def _claim(name: str, item: Mapping[str, Any], opened: Opened, rows: pl.DataFrame) -> Claim | str:
    """The claim as the statistics read it, or why it cannot be tested."""
    if item.get("not_testable"):
        return str(item["not_testable"]).rstrip(".")
    parts: list[Part] = []
    reasons: list[str] = []
    for stated in comparisons(item):
        try:
            parts.append(_part(stated, opened, rows))
        except UserError as error:
            reasons.append(str(error))
    return "; ".join(dict.fromkeys(reasons)) or Claim(name, tuple(parts))


def _part(stated: Mapping[str, Any], opened: Opened, rows: pl.DataFrame) -> Part:
    """One comparison between two entrants.

    Raises:
        UserError: why it cannot be tested.
    """
    protocol, metric, budget, quantity = parse_metric(stated)
    if metric not in rows.columns or not rows[metric].dtype.is_numeric() or rows[metric].null_count() == rows.height:
        raise UserError(f"no row was measured in {metric_text(metric)}")
    measured = rows.filter(pl.col(metric).is_not_null())
    sides: list[str] = []
    missing: list[str] = []
    for side in ("better", "worse"):
        try:
            sides.append(_entrant(side, stated.get(side), protocol, opened, measured))
        except UserError as error:
            missing.append(str(error))
    if missing:
        raise UserError("; ".join(missing))
    margin = float(stated.get("margin") or 0) or None
    two_sided = bool(stated.get("two_sided"))
    return Part(sides[0], sides[1], quantity, budget, metric, margin, two_sided)  # type: ignore[arg-type]


def _entrant(side: str, wanted: object, protocol: str, opened: Opened, rows: pl.DataFrame) -> str:
    """The one entrant that a side of a claim means.

    Raises:
        UserError: why there is none.
    """
    if not isinstance(wanted, Mapping) or not wanted:
        raise UserError(f"{side}: names no setting")
    judge = wanted.get("protocol", protocol)
    part = rows.filter(pl.col("protocol") == judge)
    lines = part.select("entrant", "method", "axes", "protocol_options", *ROW_FIELDS).unique(maintain_order=True)
    options = (opened.study.spec.get("methods") or {}) if opened.study else {}
    names: set[str] = {line["entrant"] for line in lines.iter_rows(named=True) if _means(line, wanted, options)}
    if len(names) == 1:
        return names.pop()
    if not names:
        raise UserError(f"{side}: no rows of {setting_text(wanted)} under {judge}")
    raise UserError(f"{side}: {setting_text(wanted)} means {len(names)} entrants: {list_text(sorted(names))}")


def _means(line: Mapping[str, Any], wanted: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether an entrant has every value that a side of a claim names."""
    return all(_has(line, str(key), value, options) for key, value in wanted.items())


def _has(line: Mapping[str, Any], key: str, value: object, options: Mapping[str, Any]) -> bool:
    """Whether an entrant has one value: of a row field, of `METHOD.OPTION`, or of `PROTOCOL.OPTION`.

    An option of a method is that of its axis, else what the study sets, else the default.
    """
    if key in (*ROW_FIELDS, "method"):
        return bool(line[key] == value)
    name, dot, option = key.partition(".")
    if name in PROTOCOLS:
        settings = json.loads(line["protocol_options"] or "{}")
        return bool(line["protocol"] == name) and option in settings and bool(settings[option] == _plain(value))
    if line["method"] != name or not dot:
        return bool(line["method"] == name)
    settings = {**_defaults(name), **(options.get(name) or {}), **json.loads(line["axes"] or "{}")}
    return option in settings and bool(settings[option] == _plain(value))


def _defaults(method: str) -> dict[str, Any]:
    """The options of a method that have a default, as JSON data."""
    fields = METHODS[method].model_fields if method in METHODS else {}
    known = {
        name: info.get_default(call_default_factory=True) for name, info in fields.items() if not info.is_required()
    }
    return {name: _plain(value) for name, value in known.items()}


def _plain(value: object) -> Any:
    """A value as JSON has it: tuples as lists."""
    return json.loads(json.dumps(value, default=str))
