"""Variance split, differences and the replicates they need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from scipy import stats

from bench.stats.jackknife import Factor, jackknife
from bench.stats.replicates import detectable, needed
from bench.stats.variance import differences, mean_squares, variance_split

Study = tuple[pl.DataFrame, pl.DataFrame]
FIXED = {"label_budget": "5", "n_labels": 50}


def frame(cells: np.ndarray, entrant: str = "m") -> pl.DataFrame:
    return pl.DataFrame(
        [FIXED | {"entrant": entrant, "seed": s, "draw": d, "miou": v} for (s, d), v in np.ndenumerate(cells)]
    )


def test_mean_squares_are_the_two_way_layout() -> None:
    cells = np.array([[1.0, 2.0, 6.0], [3.0, 4.0, 5.0]])
    assert mean_squares(cells) == pytest.approx((1.5, 6.5, 1.5))


def test_split_recovers_known_components() -> None:
    rng = np.random.default_rng(2)
    cells = 0.5 + 0.04 * rng.normal(size=(60, 1)) + 0.02 * rng.normal(size=(1, 60)) + 0.01 * rng.normal(size=(60, 60))
    row = variance_split(frame(cells), None, metric="miou").row(0, named=True)
    assert [row["seed_sd"], row["draw_sd"], row["interaction_sd"]] == pytest.approx([0.04, 0.02, 0.01], rel=0.2)
    assert row["test_sd"] is None
    assert row["p_seed"] < 1e-9


def test_f_test_is_that_of_the_additive_linear_model() -> None:
    cells = np.random.default_rng(3).normal(size=(4, 5))
    seed, draw = (index.ravel() for index in np.indices(cells.shape))
    draws = np.eye(5)[draw]

    def residual(design: np.ndarray) -> float:
        fitted = design @ np.linalg.pinv(design) @ cells.ravel()
        return float(((cells.ravel() - fitted) ** 2).sum())

    without, full = residual(draws), residual(np.hstack([draws, np.eye(4)[seed]]))
    row = variance_split(frame(cells), None, metric="miou").row(0, named=True)
    assert row["p_seed"] == pytest.approx(stats.f.sf((without - full) / 3 / (full / 12), 3, 12))


def test_shares_add_up_and_unknown_sources_are_null(study: Study) -> None:
    rows, items = study
    for row in variance_split(rows, items).iter_rows(named=True):
        shares = [row[f"{source}_share"] for source in ("seed", "draw", "interaction", "test")]
        assert sum(share for share in shares if share is not None) == pytest.approx(1)
        assert (row["draw_sd"] is None) == (row["label_budget"] == "all")
        assert (row["seed_sd"] is None) == (row["entrant"] == "pixels")


def test_differences_are_paired_on_draws() -> None:
    draws = np.array([[0.1, 0.3, 0.5, 0.7]])
    base = frame(draws, "r").with_columns(seed=pl.lit(None, dtype=pl.Int64))
    rows = pl.concat([base, base.with_columns(entrant=pl.lit("m"), miou=pl.col("miou") + 0.1)])
    row = differences(rows, None, reference="r", metric="miou").row(0, named=True)
    assert [row["difference"], row["low"], row["high"]] == pytest.approx([0.1] * 3)


def test_differences_follow_the_better_direction(study: Study) -> None:
    got = differences(*study, reference="pixels", metric="nll")
    assert (got["difference"] > 0).all()


def simple(values: np.ndarray) -> tuple[object, int]:
    n = len(values)
    stack = np.concatenate([[values.mean()], (values.sum() - values) / (n - 1)])
    return jackknife(stack, [Factor("seeds of m", slice(1, n + 1))]), n


def test_replicates_that_halve_an_interval_do() -> None:
    estimate, n = simple(np.random.default_rng(0).normal(size=8))
    half = float(estimate.half_width(0.95))
    more = needed(estimate, half / 2, n_seeds=n, n_draws=1, level=0.95)
    assert more.seeds is not None

    def half_width(m: int) -> float:
        return float(stats.t.ppf(0.975, m - 1) * np.sqrt(estimate.variance * n / m))

    assert half_width(more.seeds) <= half / 2 * 1.001
    assert half_width(more.seeds - 1) > half / 2 * 0.99


def test_test_items_alone_may_be_too_few() -> None:
    rng = np.random.default_rng(0)
    stack = np.concatenate([[0.0], 1e-6 * rng.normal(size=4), rng.normal(size=20)])
    estimate = jackknife(stack, [Factor("draws", slice(1, 5)), Factor("test items", slice(5, 25))])
    more = needed(estimate, 0.5, n_seeds=0, n_draws=4, level=0.95)
    assert (more.seeds, more.draws) == (None, None)


def test_detectable_difference_has_the_power_it_says() -> None:
    estimate, n = simple(np.random.default_rng(1).normal(size=30))
    effect = detectable(estimate, level=0.95, power=0.8)
    noncentral = effect / float(np.sqrt(estimate.variance))
    power = stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, noncentral)
    assert power == pytest.approx(0.8, abs=0.01)


def test_only_common_budgets_are_compared(study: Study, rows_of: Callable[..., pl.DataFrame]) -> None:
    rows, items = study
    short = rows.filter((pl.col("entrant") != "mae") | (pl.col("label_budget") == "5"))
    got = differences(short, items, reference="pixels").filter(pl.col("entrant") == "mae")
    assert got["label_budget"].to_list() == ["5"]
