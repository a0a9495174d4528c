"""The noise plane: paired differences, and noise realisations as one more crossed factor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from bench.stats.plane import ONE_NOISE, plane
from bench.stats.variance import differences

Study = tuple[pl.DataFrame, pl.DataFrame]
LOSS = {"pixels": None, "mae": 0.0, "simclr": 0.5}


@pytest.fixture
def lossy(study: Study) -> Study:
    rows, items = study
    loss = pl.col("entrant").replace_strict(LOSS, return_dtype=pl.Float64)
    return rows.with_columns(information_loss=loss, noise_seed=pl.lit(0)), items


def scored(noise_sd: float, realisations: int = 4, seeds: int = 3, draws: int = 4) -> pl.DataFrame:
    """Rows of `noisy` and of the baseline `none` with this spread between realisations of the noise."""
    rng = np.random.default_rng(0)
    drawn, noise = 0.01 * rng.normal(size=draws), noise_sd * rng.normal(size=realisations)
    records = []
    for number in range(realisations):
        for seed in range(seeds):
            luck = 0.002 * rng.normal()
            for draw in range(draws):
                where = {"seed": seed, "draw": draw, "label_budget": "4", "n_labels": 4}
                score = 0.5 + noise[number] + luck + drawn[draw] + 0.001 * rng.normal()
                noisy = {"entrant": "noisy", "miou": score, "information_loss": 0.4 + 0.01 * number}
                records.append(where | noisy | {"noise_seed": number})
                if number == 0:
                    base = {"entrant": "none", "miou": 0.4 + drawn[draw], "information_loss": None}
                    records.append(where | base | {"noise_seed": None})
    return pl.DataFrame(records)


def test_one_realisation_is_the_paired_difference_and_says_so(lossy: Study) -> None:
    rows, items = lossy
    got = plane(rows, items, baseline="pixels", realisation="noise_seed")
    expected = differences(rows, items, reference="pixels").sort("entrant", "n_labels")
    same = got.sort("entrant", "n_labels").select(expected.columns)
    assert same.drop("mark").equals(expected.drop("mark"))
    marks = dict(got.select("entrant", "mark").unique().iter_rows())
    assert ONE_NOISE not in marks["mae"]  # clean labels have no realisation
    assert marks["simclr"].endswith(ONE_NOISE)
    assert ONE_NOISE not in "".join(plane(rows, items, baseline="pixels")["mark"])


def test_realisations_widen_the_interval_by_their_spread() -> None:
    wide = plane(scored(0.05), None, baseline="none", metric="miou", realisation="noise_seed").row(0, named=True)
    rows = scored(0.05)
    assert wide["n_noise"] == 4
    assert wide["information_loss"] == pytest.approx(0.415)
    means = rows.filter(pl.col("entrant") == "noisy").group_by("noise_seed").agg(pl.col("miou").mean())["miou"]
    base = rows.filter(pl.col("entrant") == "none")["miou"].mean()
    assert wide["difference"] == pytest.approx(means.mean() - base)
    # almost all of the variance is that of the mean of four realisations: t(0.975, 3) = 3.18
    assert wide["high"] - wide["difference"] == pytest.approx(3.18 * means.std() / 2, rel=0.05)
    narrow = plane(scored(0.0), None, baseline="none", metric="miou", realisation="noise_seed").row(0, named=True)
    assert narrow["high"] - narrow["low"] < 0.2 * (wide["high"] - wide["low"])


def test_realisations_need_not_have_the_same_seeds() -> None:
    rows = scored(0.02).filter((pl.col("noise_seed") != 1) | (pl.col("seed") != 2) | (pl.col("entrant") == "none"))
    (row,) = plane(rows, None, baseline="none", metric="miou", realisation="noise_seed").to_dicts()
    assert (row["n_noise"], row["n_seeds"]) == (4, 2)


def test_intervals_cover_the_truth(rows_of: Callable[..., pl.DataFrame]) -> None:
    """Of 100 made-up studies with noise realisations, about 95 have the truth inside."""
    inside = 0
    for number in range(100):
        rng = np.random.default_rng(number)
        noise, luck = 0.03 * rng.normal(size=5), 0.02 * rng.normal(size=(5, 3))
        drawn, base = 0.03 * rng.normal(size=4), 0.02 * rng.normal(size=3)
        cells = [(r, s, d) for r in range(5) for s in range(3) for d in range(4)]
        noisy = [
            {"entrant": "n", "noise_seed": r, "seed": s, "draw": d, "miou": noise[r] + luck[r, s] + drawn[d]}
            for r, s, d in cells
        ]
        none = [
            {"entrant": "b", "noise_seed": None, "seed": s, "draw": d, "miou": base[s] + drawn[d]}
            for r, s, d in cells
            if r == 0
        ]
        rows = pl.DataFrame([*noisy, *none]).with_columns(label_budget=pl.lit("4"), n_labels=4, information_loss=0.5)
        (row,) = plane(rows, None, baseline="b", metric="miou", realisation="noise_seed").to_dicts()
        inside += row["low"] <= 0 <= row["high"]
    assert 90 <= inside <= 100
