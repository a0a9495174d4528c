"""How an encoder may be judged: the typed options of each protocol, and the cells a set of options asks for.

Nothing here imports torch, so a plan can check a study and name its rows at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.study.plugins import PIECES, PROTOCOL_GROUP, Registry, options_of
from bench.study.protocols.as_is import AsIsOptions
from bench.study.protocols.class_map import ClassMapOptions
from bench.study.protocols.few_shot import FewShotOptions
from bench.study.protocols.finetune import FinetuneOptions
from bench.study.protocols.finetune_mask import FinetuneMaskOptions
from bench.study.protocols.fusion import PARTNER_ONLY, FusionOptions, Join
from bench.study.protocols.knn import KnnOptions
from bench.study.protocols.label_propagation import LabelPropagationOptions
from bench.study.protocols.linear import LinearOptions
from bench.study.protocols.nearest_centroid import NearestCentroidOptions
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
from bench.study.protocols.robustness import RobustnessOptions, Shift
from bench.study.protocols.segmentation import SegmentationOptions

__all__ = [
    "ALL",
    "NO_LAYER",
    "PARTNER_ONLY",
    "PROTOCOLS",
    "WITHIN_BUDGET_FROM",
    "AsIsOptions",
    "Cell",
    "ClassMapOptions",
    "FewShotOptions",
    "FinetuneMaskOptions",
    "FinetuneOptions",
    "FusionOptions",
    "HeadOptions",
    "Join",
    "KnnOptions",
    "LabelPropagationOptions",
    "LinearOptions",
    "NearestCentroidOptions",
    "ProtocolOptions",
    "RobustnessOptions",
    "SegmentationOptions",
    "Selection",
    "Shift",
    "budget_order",
    "cells",
    "control_cells",
]


def _taken() -> set[str]:
    from bench.study.methods import METHODS

    return {*PIECES, *METHODS}


_BUILT_IN: tuple[type[ProtocolOptions], ...] = (
    LinearOptions,
    KnnOptions,
    FusionOptions,
    FinetuneOptions,
    FinetuneMaskOptions,
    NearestCentroidOptions,
    LabelPropagationOptions,
    RobustnessOptions,
    SegmentationOptions,
    AsIsOptions,
    FewShotOptions,
)

PROTOCOLS: Registry[type[ProtocolOptions]] = Registry(
    PROTOCOL_GROUP,
    {options.name: options for options in _BUILT_IN},
    options_of(ProtocolOptions, ("version", "summary", "implementation")),
    _taken,
)


def cells(options: ProtocolOptions, layers: Sequence[str]) -> list[Cell]:
    """Every score these options ask of one encoder.

    Args:
        options: the protocol's options.
        layers: names of the encoder's layers, resolved from `options.layers`. Fine-tuning reads none of them: its
            layer is "last".

    Returns:
        Cells in a fixed order, each once; "all" has draw 0 only.
    """
    return _spread(options, _sources(options, layers))


def control_cells(options: FusionOptions, dimensions: Sequence[int]) -> list[Cell]:
    """Every score these options ask of their partner; the cells read no layer of an encoder: theirs is "none".

    Args:
        options: of fusion.
        dimensions: of the PCA of pixels that the partner is joined with.
    """
    return _spread(options, [(NO_LAYER, join.name) for join in options.control_joins(tuple(dimensions))])


def _spread(options: ProtocolOptions, sources: Sequence[tuple[str, str | None]]) -> list[Cell]:
    return [
        Cell(label_budget, draw, layer, fuse)
        for layer, fuse in sources
        for label_budget in options.label_budgets
        for draw in range(1 if label_budget == ALL else options.draws)
    ]


def _sources(options: ProtocolOptions, layers: Sequence[str]) -> list[tuple[str, str | None]]:
    """What a head is put on: pairs of layer and fusion."""
    if not options.reads_features:
        return [("last", None)]
    if isinstance(options, FusionOptions):
        return [(layer, fuse) for fuse in options.fuse for layer in layers]
    return [(layer, None) for layer in layers]
