"""What differs in how two sets of rows came about: data, code, packages, options, replicates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

_JSON = {"numerical_versions": "version of", "packages": "package", "options": "option", "protocol_options": "protocol"}
_DIGESTS = {
    "dataset_fingerprint": "other images or labels",
    "split_digest": "another split",
    "source_hash": "code edited",
}
_COUNTS = {"seed": "seeds", "draw": "draws"}
_SHOWN = 60  # characters of a value


def reasons(before: pl.DataFrame, after: pl.DataFrame) -> list[str]:
    """Why the scores of two sets of rows may differ, a short text each; empty where nothing that counts differs.

    Args:
        before, after: rows with all columns of the schema.
    """
    found = [text for name, text in _DIGESTS.items() if set(before[name]) != set(after[name])]
    for name, noun in _JSON.items():
        found += changes(_values(before[name]), _values(after[name]), noun)
    for name in ("encoder", "device", "selection"):
        found += changes({name: _listed(before[name])}, {name: _listed(after[name])})
    for name, noun in _COUNTS.items():
        found += changes({noun: before[name].n_unique()}, {noun: after[name].n_unique()})
    name = "label budgets"
    return found + changes({name: _listed(before["label_budget"])}, {name: _listed(after["label_budget"])})


def changes(before: Mapping[str, Any], after: Mapping[str, Any], noun: str = "") -> list[str]:
    """`package torch 2.14 -> 2.15` for every key whose value is another one."""
    head = f"{noun} " if noun else ""
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return [f"{head}{key} {_shown(before.get(key))} -> {_shown(after.get(key))}" for key in keys]


def flattened(value: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested JSON objects, by dotted path; lists are leaves."""
    if not isinstance(value, Mapping):
        return {path: value}
    parts = (flattened(part, f"{path}.{key}" if path else str(key)) for key, part in value.items())
    return {key: leaf for part in parts for key, leaf in part.items()}


def _values(column: pl.Series) -> dict[str, str]:
    """Every value that the JSON objects of a column give each key."""
    found: dict[str, set[str]] = {}
    for text in column.drop_nulls().unique():
        for key, value in flattened(json.loads(text)).items():
            found.setdefault(key, set()).add(value if isinstance(value, str) else json.dumps(value))
    return {key: ", ".join(sorted(values)) for key, values in found.items()}


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values if value is not None}))


def _shown(value: Any) -> str:
    text = "(none)" if value in (None, "") else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
