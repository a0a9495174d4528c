"""Shares of the gain of clean labels: which entrants are compared, and what is said."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from bench.results.opening import NEEDED, assemble
from bench.results.share import share_lines, shares_table
from bench.store.schema import ROWS

LEVELS = {"random_init": 0.2, "clean": 0.6, "half": 0.5}


def rows(state: str, shift: float = 0.0, **axes: Any) -> list[dict[str, Any]]:
    made = []
    named = {"random_init": {}, "clean": {"noise": "none", "rate": 0.0}, "half": {"noise": "flip", "rate": 0.5}}
    for name, level in LEVELS.items():
        for seed in range(3):
            for budget in ("4", "16"):
                made.append(
                    dict.fromkeys(NEEDED)
                    | {"row_key": f"{state}{name}{seed}{budget}", "seed": seed, "draw": 0, "label_budget": budget}
                    | {"n_labels": int(budget), "n_selection_labels": 0, "status": "ok", "encoder": "unet_nano"}
                    | {"method": name if name == "random_init" else "noisy_labels", "axes": json.dumps(named[name])}
                    | {"protocol": "segmentation", "layer": "last", "miou": level + shift * (name == "half")}
                    | {"protocol_options": json.dumps({"encoder_state": state})}
                )
    return made


def frame(*parts: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {name: ROWS[name] for name in NEEDED}
    return pl.DataFrame([row for part in parts for row in part], schema=schema)


def test_each_way_to_judge_has_its_own_whole() -> None:
    opened = assemble(frame(rows("frozen"), rows("trained", shift=0.05)), pl.DataFrame(), None)
    table = shares_table(opened, "miou")
    assert table["label_budget"].to_list() == ["4", "16", "4", "16"]
    assert table["share"].to_list() == pytest.approx([0.75, 0.75, 0.875, 0.875])
    lines = share_lines(table)
    assert "encoder_state=frozen" in lines[1]
    assert "4: 75 % (75 to 75), 16: 75 % (75 to 75)" in lines[1]
    assert "encoder_state=trained" in lines[2]


def test_without_clean_labels_or_random_weights_nothing_is_said() -> None:
    every = frame(rows("frozen"))
    for keep in (pl.col("method") != "random_init", pl.col("axes") != json.dumps({"noise": "none", "rate": 0.0})):
        table = shares_table(assemble(every.filter(keep), pl.DataFrame(), None), "miou")
        assert table.is_empty()
        assert share_lines(table) == []
