"""Gaps between kinds of supervision, as shares of what is above chance."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from bench.stats.gap import AT_CHANCE, chance, gaps


def rows(pixel: float, image: float, noise: float = 0.004) -> pl.DataFrame:
    numbers = np.random.default_rng(1)
    details = json.dumps(
        {"exact_ratio_all_absent": 0.4, "exact_ratio_all_present": 0.6, "miou_all_foreground": 0.1, "training_masks": 3}
    )
    return pl.DataFrame(
        {"entrant": name, "seed": seed, "draw": 0, "label_budget": budget, "n_labels": int(budget),
         "miou": level + numbers.normal(0, noise), "exact_ratio": level + 0.3, "details": details}
        for name, level in (("pixel", pixel), ("image", image))
        for seed in range(6)
        for budget in ("1", "5")
    )  # fmt: skip


def test_chance_is_the_best_of_what_comes_without_looking() -> None:
    assert chance(rows(0.5, 0.3)) == pytest.approx({"exact_ratio": 0.6, "miou": 0.1})
    assert chance(rows(0.5, 0.3).with_columns(details=pl.lit(None, pl.String))) == {}


def test_the_share_is_that_of_the_means_and_its_interval_holds_the_truth() -> None:
    frame = rows(0.5, 0.3)
    found = gaps(frame, None, pixel="pixel", image="image", baselines=chance(frame))
    assert found.select("metric", "label_budget").rows() == [
        ("exact_ratio", "1"), ("exact_ratio", "5"), ("miou", "1"), ("miou", "5")
    ]  # fmt: skip
    mean = dict(frame.filter(label_budget="1").group_by("entrant").agg(pl.col("miou").mean()).iter_rows())
    line = found.filter(metric="miou", label_budget="1").row(0, named=True)
    assert line["gap"] == pytest.approx(mean["pixel"] - mean["image"])
    assert line["share"] == pytest.approx(line["gap"] / (mean["pixel"] - 0.1))
    assert line["low"] < 0.5 < line["high"] < line["low"] + 0.05
    assert line["gap_low"] < 0.2 < line["gap_high"]
    assert found.filter(metric="exact_ratio")["share"].to_list() == pytest.approx([0.2 / 0.2] * 2)


def test_nothing_above_chance_has_no_share() -> None:
    frame = rows(0.1, 0.05)
    found = gaps(frame, None, pixel="pixel", image="image", baselines={"miou": 0.1})
    assert found["share"].null_count() == 2
    assert found["reason"].to_list() == [AT_CHANCE] * 2
    assert found["gap"].to_list() == pytest.approx([0.05] * 2, abs=0.01)
