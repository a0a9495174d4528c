"""Label budgets in words: what one counts depends on the protocol that spends it."""

from __future__ import annotations

from collections.abc import Iterable

from bench.study.protocols import PROTOCOLS, ProtocolOptions

LABELS = ProtocolOptions.budget_unit


def budget_unit(protocols: Iterable[str]) -> tuple[str, str]:
    """What the budgets of these protocols count, one and more: `("shot", "shots")`.

    Protocols that are not known here count labels a class; of several units none is named but `("label", "labels")`.
    """
    units = {PROTOCOLS[name].budget_unit if name in PROTOCOLS else LABELS for name in protocols}
    if len(units) > 1:
        return "label", "labels"
    return units.pop() if units else LABELS


def budget_text(label_budget: str, protocols: Iterable[str]) -> str:
    """`1 label a class`, `4 labelled images`, `5 shots`, `all labels`; `budget 4` where protocols count differently."""
    one, more = budget_unit(protocols)
    if label_budget == "all":
        return f"all {more.removesuffix(' a class')}"
    if more == "labels":
        return f"budget {label_budget}"
    return f"{label_budget} {one if label_budget == '1' else more}"


def unit_title(protocols: Iterable[str]) -> str:
    """The heading of a choice among budgets: `Labels a class`, `Labelled images`, `Shots`, `Label budget`."""
    more = budget_unit(protocols)[1]
    return "Label budget" if more == "labels" else more.capitalize()
