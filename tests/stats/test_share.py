"""The share of a gain that remains: closed forms, its sign, and silence where there is no gain to share."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from bench.errors import UserError
from bench.stats.arrays import t_quantile
from bench.stats.share import NO_GAIN, shares

ARGUMENTS = {"entrants": ["noisy"], "ceiling": "clean", "baseline": "random"}


def rows(levels: dict[str, float], *, seeds: int = 4, draws: int = 2, sd: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """Scores at one budget: a level for each entrant, and effects of seeds and draws."""
    rng = np.random.default_rng(seed)
    drawn = sd * rng.standard_normal(draws)
    return pl.DataFrame(
        [
            {
                "entrant": name,
                "seed": s,
                "draw": d,
                "label_budget": "16",
                "n_labels": 16,
                "miou": level + luck + drawn[d],
            }
            for name, level in levels.items()
            for s, luck in enumerate(sd * rng.standard_normal(seeds))
            for d in range(draws)
        ]
    )


def test_shares_of_exact_scores() -> None:
    table = shares(rows({"random": 0.2, "clean": 0.6, "noisy": 0.5, "worse": 0.1}), None, entrants=["noisy", "worse"],
                   ceiling="clean", baseline="random")  # fmt: skip
    assert table["share"].to_list() == pytest.approx([0.75, -0.25])
    assert table["gain"].to_list() == pytest.approx([0.3, -0.1])
    assert table["whole"].to_list() == pytest.approx([0.4, 0.4])
    np.testing.assert_allclose(table["low"], table["share"])


def test_the_interval_is_the_jackknife_of_the_ratio() -> None:
    """Only the noisy entrant varies, and only by seed: the share is linear in it, so the interval is Student's."""
    frame = rows({"random": 0.2, "clean": 0.6, "noisy": 0.0}, draws=1)
    levels = np.array([0.45, 0.5, 0.52, 0.41])
    frame = frame.with_columns(
        pl.when(pl.col("entrant") == "noisy")
        .then(pl.Series(np.resize(levels, len(frame))))
        .otherwise("miou")
        .alias("miou")
    )
    (row,) = shares(frame, None, **ARGUMENTS).to_dicts()
    parts = (frame.filter(pl.col("entrant") == "noisy")["miou"].to_numpy() - 0.2) / 0.4
    half = t_quantile(0.975, np.array(3.0)) * parts.std(ddof=1) / np.sqrt(len(parts))
    assert row["share"] == pytest.approx(parts.mean())
    assert (row["low"], row["high"]) == pytest.approx((parts.mean() - half, parts.mean() + half))


@pytest.mark.parametrize(("level", "sign"), [(0.5, 1), (0.1, -1)])
def test_the_interval_finds_the_sign_and_covers(level: float, sign: int) -> None:
    truth, covered, found = (level - 0.2) / 0.4, 0, 0
    for seed in range(200):
        table = shares(rows({"random": 0.2, "clean": 0.6, "noisy": level}, sd=0.01, seed=seed), None, **ARGUMENTS)
        low, high = table["low"][0], table["high"][0]
        covered += low <= truth <= high
        found += (low > 0) if sign > 0 else (high < 0)
    assert covered >= 0.9 * 200
    assert found >= 0.95 * 200


def test_no_share_of_a_gain_that_may_be_nothing() -> None:
    (row,) = shares(rows({"random": 0.5, "clean": 0.501, "noisy": 0.5}, sd=0.02), None, **ARGUMENTS).to_dicts()
    assert row["share"] is None
    assert row["reason"] == NO_GAIN
    assert row["whole_low"] < 0


def test_an_entrant_without_rows_is_named() -> None:
    with pytest.raises(UserError, match="clean"):
        shares(rows({"random": 0.2, "noisy": 0.5}), None, **ARGUMENTS)
