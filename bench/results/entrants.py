"""Entrants: what makes a line of the leaderboard, what it is called, and which of them a reference name means."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from bench.errors import unknown

IDENTITY = ("method", "axes", "encoder", "protocol", "protocol_options", "layer", "fuse", "partner")
# Used where a study names no reference: the entrants that use no pretraining.
DEFAULT_REFERENCE = ("random_init+finetune", "random_init+linear", "pixels+linear")
# What learns nothing here before labels, the controls of a fusion among them: no finding is told about these.
LABEL_ONLY = ("pixels", "hog", "random_init", "partner")
# Settings of a protocol that other columns tell already, or that never tell two entrants apart.
_TOLD_ELSEWHERE = frozenset({"protocol", "label_budgets", "draws", "layers", "layer", "fuse", "partner"})


def with_entrants(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds the column `entrant` (str) to rows that hold the columns of IDENTITY.

    An entrant is called `method[axis=value, ...] + protocol`, followed by ` @layer` and ` (fuse partner)`. The
    encoder, the layer and the protocol's own settings are named only where they vary, so that names stay short.
    """
    combinations = rows.select(IDENTITY).unique(maintain_order=True)
    names = pl.Series("entrant", entrant_names(combinations.to_dicts()), dtype=pl.String)
    return rows.join(combinations.with_columns(names), on=IDENTITY, how="left", nulls_equal=True)


def entrant_names(combinations: list[dict[str, Any]]) -> list[str]:
    """The name of every combination of IDENTITY values, each against the background of all of them."""
    encoders = _values(combinations, ("method",), "encoder")
    layers = _values(combinations, ("method", "axes", "encoder", "protocol", "protocol_options", "fuse"), "layer")
    partners = _values(combinations, ("protocol",), "partner")
    settings = _varying_settings(combinations)
    return [_name(row, encoders, layers, partners, settings[row["protocol"]]) for row in combinations]


def match_reference(names: Iterable[str], entrants: pl.DataFrame) -> tuple[str, ...]:
    """The entrants that reference names such as `pixels+linear` mean.

    Args:
        names: `method+protocol`, which means every setting and layer of the two, or the full name of an entrant.
        entrants: frame with the columns entrant, method, protocol.

    Returns:
        Names of entrants, in the order of `names` and sorted within; empty where none of them has rows (yet).
    """
    known = entrants.select("entrant", "method", "protocol").unique().sort("entrant").to_dicts()
    found: dict[str, None] = {}
    for name in names:
        wanted = _squeeze(name)
        for row in known:
            if wanted in (_squeeze(f"{row['method']}+{row['protocol']}"), _squeeze(row["entrant"])):
                found[row["entrant"]] = None
    return tuple(found)


def check_reference(names: Iterable[str], entrants: pl.DataFrame) -> tuple[str, ...]:
    """Like `match_reference`, for names that a user typed.

    Raises:
        UserError: a name matches no entrant.
    """
    names = tuple(names)
    for name in names:
        if not match_reference([name], entrants):
            raise unknown("entrant", name, entrants["entrant"].unique(), "reference")
    return match_reference(names, entrants)


def axes_text(axes: str | None) -> str:
    """`mask_ratio=0.75, noise_level=0.1` from the JSON of the axes; empty where there is none."""
    return _settings_text(_json(axes))


def _name(
    row: Mapping[str, Any],
    encoders: Mapping[tuple[Any, ...], set[Any]],
    layers: Mapping[tuple[Any, ...], set[Any]],
    partners: Mapping[tuple[Any, ...], set[Any]],
    settings: frozenset[str],
) -> str:
    axes = _json(row["axes"])
    if len(encoders[(row["method"],)]) > 1 and "encoder" not in axes:
        axes = {"encoder": row["encoder"], **axes}
    options = {key: value for key, value in _json(row["protocol_options"]).items() if key in settings}
    name = f"{row['method']}{_bracket(axes)}"
    if row["protocol"]:
        name += f" + {row['protocol']}{_bracket(options)}"
    group = tuple(row[part] for part in ("method", "axes", "encoder", "protocol", "protocol_options", "fuse"))
    if row["layer"] and len(layers[group]) > 1:
        name += f" @{row['layer']}"
    if row["fuse"]:
        partner = row["partner"] if len(partners[(row["protocol"],)]) > 1 else None
        name += f" ({row['fuse']} {partner})" if partner else f" ({row['fuse']})"
    return name


def _values(
    combinations: list[dict[str, Any]], group: tuple[str, ...], column: str
) -> Mapping[tuple[Any, ...], set[Any]]:
    """The known values of `column` for each value of the `group` columns."""
    values: defaultdict[tuple[Any, ...], set[Any]] = defaultdict(set)
    for row in combinations:
        if row[column] is not None:
            values[tuple(row[part] for part in group)].add(row[column])
    return values


def _varying_settings(combinations: list[dict[str, Any]]) -> Mapping[str | None, frozenset[str]]:
    """For each protocol, settings that tell all of its entrants apart; none that others make superfluous.

    Numbers, lists and what may be absent go first: the words of a study say best what its entries are for.
    """
    seen: defaultdict[str | None, list[dict[str, Any]]] = defaultdict(list)
    for row in combinations:
        if row["protocol_options"] is not None:
            seen[row["protocol"]].append(_json(row["protocol_options"]))
    found: defaultdict[str | None, frozenset[str]] = defaultdict(frozenset)
    for protocol, options in seen.items():
        kept = sorted({key for option in options for key in option} - _TOLD_ELSEWHERE)
        texts = {key: [json.dumps(option.get(key), sort_keys=True) for option in options] for key in kept}
        whole = _distinct(texts, kept)
        for key in sorted(kept, key=lambda key: all(isinstance(option.get(key), str) for option in options)):
            rest = [other for other in kept if other != key]
            if _distinct(texts, rest) == whole:
                kept = rest
        found[protocol] = frozenset(kept)
    return found


def _distinct(texts: Mapping[str, list[str]], keys: list[str]) -> int:
    """How many different entries the settings of these names tell apart."""
    return len(set(zip(*(texts[key] for key in keys), strict=True))) if keys else 1


def _bracket(settings: Mapping[str, Any]) -> str:
    return f"[{_settings_text(settings)}]" if settings else ""


def _settings_text(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_plain(settings[key])}" for key in sorted(settings))


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _json(text: str | None) -> dict[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}


def _squeeze(name: str) -> str:
    return "".join(name.split())
