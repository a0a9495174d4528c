"""What every registered protocol promises."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.data.catalog import Dataset
from bench.methods.encoder import Encoder
from bench.protocols.base import Cell, Score
from bench.protocols.registry import PROTOCOLS
from bench.study import protocols as study
from bench.study.protocols import FusionOptions, ProtocolOptions, cells, control_cells
from bench.testing import ProtocolContract
from bench.testing.protocols import same
from tests.protocols.conftest import RUNS, evaluation, small_options

UNSELECTED = {"label_propagation", "nearest_centroid"}  # nothing to choose: one candidate at every budget
TRAINS = {name for name in RUNS if name.startswith("finetune") or name == "fusion:trained"}


class Small:
    """Protocols and their forms, with the quick options of this room."""

    name: str

    def small(self, **changes: Any) -> ProtocolOptions:
        return small_options(self.name, **changes)

    def asked(self, options: ProtocolOptions, layer: str) -> list[Cell]:
        controls = control_cells(options, [8]) if isinstance(options, FusionOptions) else []
        return cells(options, [layer]) + controls

    @pytest.fixture(autouse=True)
    def _ground(self, digits: Dataset, conv: Encoder, root: Path) -> None:
        self.ground = digits, conv, root

    def scores(
        self, options: ProtocolOptions, wanted: Sequence[Cell] | None = None, dataset: Dataset | None = None
    ) -> list[Score]:
        known, encoder, root = self.ground
        return RUNS[self.name](evaluation(dataset or known, encoder, root, options, wanted))


def contract(name: str) -> type[ProtocolContract]:
    subset = {"label_budgets": [1, 10], "draws": 2, "lr_grid": None}
    learns = {"steps": 40, "lr_grid": None, "batch_size": 64}
    changes = {"subset": subset, "learns": learns} if name in TRAINS else {}
    attributes = {"name": name, "changes": changes, "selects": name not in UNSELECTED}
    return type(f"Test_{name.replace(':', '_')}", (Small, ProtocolContract), attributes)


globals().update({f"Test_{name.replace(':', '_')}": contract(name) for name in sorted(RUNS)})


def test_registries_agree() -> None:
    assert set(PROTOCOLS) == set(study.PROTOCOLS)


def test_uniform_draws_are_selected_for_one_by_one(digits: Dataset, conv: Encoder, root: Path) -> None:
    options = small_options("linear", label_budgets=[2], draws=4, draw_strategy="uniform", selection="within_budget")
    everything = {score.cell: score for score in PROTOCOLS["linear"](evaluation(digits, conv, root, options))}
    for cell in cells(options, [conv.default_layer]):
        assert same(PROTOCOLS["linear"](evaluation(digits, conv, root, options, [cell]))[0], everything[cell])
