"""What masks are worth beside image labels: which entrants are compared, and what is said."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from bench.results.opening import NEEDED, Opened, assemble
from bench.results.supervision import mask_lines, supervised
from bench.store.schema import ROWS

LEVELS = {("image", 0.0): 0.2, ("mixed", 0.1): 0.35, ("pixel", 1.0): 0.5}
CHANCE = {"exact_ratio_all_absent": 0.4, "exact_ratio_all_present": 0.6, "miou_all_foreground": 0.1}


def opened(methods: tuple[str, ...] = ("dino", "random_init"), *, without: str = "", level: float = 0.0) -> Opened:
    made: list[dict[str, Any]] = [
        dict.fromkeys(NEEDED)
        | {"row_key": f"{method}{kind}{share}{seed}{shots}", "seed": seed, "draw": 0, "label_budget": shots}
        | {"n_labels": int(shots), "n_selection_labels": 0, "status": "ok", "encoder": "vit_nano", "method": method}
        | {"axes": "{}", "protocol": "few_shot", "layer": "last", "details": json.dumps(CHANCE)}
        | {"protocol_options": json.dumps({"supervision": kind, "mask_share": share, "ways": 1})}
        | {"miou": (level or score) + seed / 1e3, "exact_ratio": score + 0.4 + seed / 1e3}
        for method in methods
        for (kind, share), score in LEVELS.items()
        if kind != without
        for seed in range(3)
        for shots in ("1", "5")
    ]
    frame = pl.DataFrame(made, schema={name: ROWS[name] for name in NEEDED})
    return assemble(frame, pl.DataFrame(), None)


def test_an_encoder_is_compared_with_itself_alone() -> None:
    found = supervised(opened())
    assert [part.name for part in found] == ["dino + few_shot", "random_init + few_shot"]
    assert [*found[0].entrants] == [*LEVELS]
    assert all(name.startswith("dino") for name in found[0].entrants.values())


def test_both_metrics_say_what_masks_add_and_what_a_tenth_closes() -> None:
    lines = mask_lines(opened(("dino",)))
    assert lines[0] == "(pixel - image) / (pixel - chance), 95 % interval, by shots:"
    assert lines[1].startswith("  dino + few_shot, exact ratio (chance 0.600): 1: 100 %")
    assert lines[2].startswith("  dino + few_shot, mIoU (chance 0.100): 1: 75 % (7")
    assert lines[3] == "share of pixel - image that some of the masks close, 95 % interval, by shots:"
    assert lines[4].startswith(
        "  dino + few_shot, exact ratio, 10 % of the masks: 1: 50 % (49 to 51), 5: 50 % (49 to 51)"
    )
    assert len(lines) == 6


@pytest.mark.parametrize("without", ["image", "pixel"])
def test_without_either_end_nothing_is_said(without: str) -> None:
    assert mask_lines(opened(without=without)) == []


def test_without_mixed_supervision_only_the_gap_is_told() -> None:
    assert len(mask_lines(opened(("dino",), without="mixed"))) == 3


def test_a_gap_of_nothing_has_no_share() -> None:
    lines = mask_lines(opened(("dino",), level=0.1))
    assert lines[2].endswith("mIoU (chance 0.100): 1: pixel is at chance, 5: pixel is at chance")
    assert lines[-1].endswith("1: no gap to close, 5: no gap to close")
