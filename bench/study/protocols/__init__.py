"""How an encoder may be judged: the typed options of each protocol, and the cells a set of options asks for.

Nothing here imports torch, so a plan can check a study and name its rows at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.study.protocols.finetune import FinetuneOptions
from bench.study.protocols.fusion import PARTNER_ONLY, FusionOptions
from bench.study.protocols.knn import KnnOptions
from bench.study.protocols.linear import LinearOptions
from bench.study.protocols.options import (
    ALL,
    NO_LAYER,
    WITHIN_BUDGET_FROM,
    Cell,
    HeadOptions,
    ProtocolOptions,
    Selection,
    budget_order,
)

__all__ = [
    "ALL",
    "NO_LAYER",
    "PARTNER_ONLY",
    "PROTOCOLS",
    "WITHIN_BUDGET_FROM",
    "Cell",
    "FinetuneOptions",
    "FusionOptions",
    "HeadOptions",
    "KnnOptions",
    "LinearOptions",
    "ProtocolOptions",
    "Selection",
    "budget_order",
    "cells",
]

PROTOCOLS: Mapping[str, type[ProtocolOptions]] = {
    options.name: options for options in (LinearOptions, KnnOptions, FusionOptions, FinetuneOptions)
}


def cells(options: ProtocolOptions, layers: Sequence[str]) -> list[Cell]:
    """Every score these options ask of one encoder.

    Args:
        options: the protocol's options.
        layers: names of the encoder's layers, resolved from `options.layers`. Fine-tuning reads none of them: its
            layer is "last".

    Returns:
        Cells in a fixed order, each once; "all" has draw 0 only. The control rows of fusion have layer "none".
    """
    return [
        Cell(label_budget, draw, layer, fuse)
        for layer, fuse in _sources(options, layers)
        for label_budget in options.label_budgets
        for draw in range(1 if label_budget == ALL else options.draws)
    ]


def _sources(options: ProtocolOptions, layers: Sequence[str]) -> list[tuple[str, str | None]]:
    """What a head is put on: pairs of layer and fusion."""
    if isinstance(options, FinetuneOptions):
        return [("last", None)]
    if isinstance(options, FusionOptions):
        return [(layer, fuse) for fuse in options.fuse for layer in layers] + [(NO_LAYER, PARTNER_ONLY)]
    return [(layer, None) for layer in layers]
