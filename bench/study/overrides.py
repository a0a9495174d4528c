"""`--set KEY=VALUE`: any leaf of a study, by the path one would say."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.errors import UserError, unknown
from bench.study.methods import METHODS
from bench.study.protocols import PROTOCOLS
from bench.study.spec import Study


def apply_overrides(raw: Mapping[str, Any], pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A copy of the raw study with each (path, value) set.

    `mae.mask_ratio` is short for `methods.mae.mask_ratio`; it replaces a scientific or nuisance axis of that name.
    `evaluate.linear.draws` sets every entry of that protocol, `evaluate.0.draws` the first entry.

    Raises:
        UserError: the path does not exist; the message lists what exists at the first part that does not.
    """
    study = copy.deepcopy(dict(raw))
    for path, value in pairs:
        _set(study, path, value)
    return study


def _set(study: dict[str, Any], path: str, value: Any) -> None:
    _check_containers(study, path)
    head, _, rest = path.partition(".")
    methods = study.get("methods") or {}
    if head in METHODS or head in methods:
        return _set_option(study, head, rest, value, path)
    if head not in Study.model_fields:
        raise unknown("key", head, [*Study.model_fields, *methods], f"--set {path}")
    if not rest:
        study[head] = value
    elif head == "methods":
        method, _, field = rest.partition(".")
        _set_option(study, method, field, value, path)
    elif head in ("scientific", "nuisance"):
        _set_axis(study, head, rest, value, path)
    elif head == "evaluate":
        _set_entry(study, rest, value, path)
    else:
        _set_section(study, head, rest, value, path)
    return None


def _check_containers(study: Mapping[str, Any], path: str) -> None:
    """Raises UserError where a part of the study that holds others is a plain value, so that nothing can be set."""
    sections = {head: study.get(head) for head in ("data", "methods", "scientific", "nuisance", "search", "resources")}
    if isinstance(sections["methods"], Mapping):
        sections |= {f"methods.{name}": options for name, options in sections["methods"].items()}
    for head, value in sections.items():
        if not isinstance(value or {}, Mapping):
            raise UserError(f"--set {path}: {head} holds options by name, but is {value!r}")
    if not isinstance(study.get("evaluate") or [], list | tuple):
        raise UserError(f"--set {path}: evaluate is a list of {{protocol: ..., ...}}, but is {study['evaluate']!r}")


def _set_section(study: dict[str, Any], head: str, field: str, value: Any, path: str) -> None:
    model = Study.model_fields[head].annotation
    fields = getattr(model, "model_fields", None)
    if fields is None:
        raise UserError(f"--set {path}: {head} is a single value; set {head}=VALUE")
    if field not in fields:
        raise unknown("key", field, fields, f"--set {path}")
    study[head] = {**(study.get(head) or {}), field: value}


def _set_option(study: dict[str, Any], method: str, field: str, value: Any, path: str) -> None:
    methods = study.get("methods") or {}
    if method not in METHODS:
        raise unknown("method", method, METHODS, f"--set {path}")
    if not field:
        study["methods"] = {**methods, method: value}
        return
    _check_field(method, field, path)
    if method not in methods:
        raise UserError(f"--set {path}: {method} is not in this study; its methods: {', '.join(methods)}")
    study["methods"] = {**methods, method: {**(methods[method] or {}), field: value}}
    for role in ("scientific", "nuisance"):  # a fixed value ends the axis
        study[role] = {axis: item for axis, item in (study.get(role) or {}).items() if axis != f"{method}.{field}"}


def _set_axis(study: dict[str, Any], role: str, axis: str, value: Any, path: str) -> None:
    method, _, field = axis.partition(".")
    if method not in METHODS:
        raise unknown("method", method, METHODS, f"--set {path}")
    _check_field(method, field, path)
    study[role] = {**(study.get(role) or {}), axis: value}


def _check_field(method: str, field: str, path: str) -> None:
    fields = METHODS[method].model_fields
    if field not in fields:
        raise unknown("option", field, fields, f"--set {path}")


def _set_entry(study: dict[str, Any], rest: str, value: Any, path: str) -> None:
    which, _, field = rest.partition(".")
    entries: Sequence[Any] = study.get("evaluate") or []
    chosen = [
        index
        for index, entry in enumerate(entries)
        if isinstance(entry, Mapping) and which in (str(index), entry.get("protocol"))
    ]
    if not chosen:
        present = [str(entry.get("protocol")) for entry in entries if isinstance(entry, Mapping)]
        raise unknown("entry", which, [*present, *map(str, range(len(entries)))], f"--set {path}")
    study["evaluate"] = list(entries)
    for index in chosen:
        protocol = str(entries[index].get("protocol"))
        fields = ["protocol", *PROTOCOLS[protocol].model_fields] if protocol in PROTOCOLS else [field]
        if field not in fields:
            raise unknown("option", field, fields, f"--set {path}")
        study["evaluate"][index] = {**entries[index], field: value}
