"""Response curves and their optimum."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from bench.errors import UserError
from bench.stats.response import optimum, response

SETTINGS = (0.1, 0.3, 0.5, 0.75, 0.9)


def rows(score: object, noise: float = 0.004, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        [
            {"entrant": f"mae[{x}]", "mask_ratio": x, "seed": s, "draw": d, "label_budget": "5", "n_labels": 50}
            | {"miou": float(score(x)) + noise * luck + noise * rng.normal()}
            for x in SETTINGS
            for s, luck in enumerate(rng.normal(size=5))
            for d in range(4)
        ]
    )


def peak(x: float) -> float:
    return 0.6 - 0.5 * (x - 0.6) ** 2


def test_vertex_of_a_parabola() -> None:
    got = optimum(rows(peak, noise=1e-9), None, axis="mask_ratio", metric="miou").row(0, named=True)
    assert got["optimum"] == pytest.approx(0.6, abs=1e-6)
    assert (got["low_open"], got["high_open"]) == (False, False)


def test_interval_covers_the_optimum_and_no_more_than_needed() -> None:
    inside = [
        got["low"] <= 0.6 <= got["high"] and not (got["low_open"] or got["high_open"])
        for k in range(100)
        for got in [optimum(rows(peak, seed=k), None, axis="mask_ratio", metric="miou").row(0, named=True)]
    ]
    assert 0.89 <= np.mean(inside) <= 1.0


def test_an_optimum_beyond_the_axis_is_open() -> None:
    got = optimum(rows(lambda x: 0.3 + 0.2 * x - 0.01 * x**2), None, axis="mask_ratio", metric="miou").row(
        0, named=True
    )
    assert got["high_open"]
    assert got["high"] == 0.9


def test_a_valley_has_no_optimum() -> None:
    got = optimum(rows(lambda x: 0.3 + (x - 0.5) ** 2), None, axis="mask_ratio", metric="miou").row(0, named=True)
    assert got["optimum"] is None
    assert "no maximum" in got["reason"]
    assert (got["low"], got["high"]) == (0.1, 0.9)


def test_optimum_over_log_axis() -> None:
    got = optimum(
        rows(lambda x: 0.5 - 0.1 * np.log2(x / 0.4) ** 2, 1e-9), None, axis="mask_ratio", metric="miou", log=True
    )
    assert got["optimum"].item() == pytest.approx(0.4, abs=1e-6)


def test_response_is_ordered_and_marks_who_may_be_best() -> None:
    got = response(rows(peak), None, axis="mask_ratio", metric="miou", label_budget="5")
    assert got["value"].to_list() == list(SETTINGS)
    plausible = dict(got.select("value", "plausible").iter_rows())
    assert plausible[0.5] or plausible[0.75]
    assert not plausible[0.1]
    assert got["behind"].min() == 0


def test_mistakes_are_named() -> None:
    frame = rows(peak)
    with pytest.raises(UserError, match="mask"):
        response(frame, None, axis="mask", metric="miou")
    with pytest.raises(UserError, match="at least 3"):
        optimum(frame.filter(pl.col("mask_ratio") < 0.4), None, axis="mask_ratio", metric="miou")
    with pytest.raises(UserError, match="several values"):
        response(
            frame.with_columns(mask_ratio=pl.col("mask_ratio") + pl.col("seed")), None, axis="mask_ratio", metric="miou"
        )
    with pytest.raises(UserError, match="'7'"):
        response(frame, None, axis="mask_ratio", metric="miou", label_budget="7")
