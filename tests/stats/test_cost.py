"""Pareto front, labels per hour, optimism gap, noise plane."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mutual_info_score

from bench.errors import UserError
from bench.stats.cost import hours, labels_per_hour, pareto
from bench.stats.optimism import optimism_gap
from bench.stats.plane import information_loss, plane

Study = tuple[pl.DataFrame, pl.DataFrame]


@pytest.fixture
def paid(study: Study) -> Study:
    rows, items = study
    seconds = {"pixels": 0.0, "mae": 3600.0, "simclr": 7200.0}
    searched = pl.when(pl.col("entrant") == "mae").then(1800.0)
    spent = pl.col("entrant").replace_strict(seconds, return_dtype=pl.Float64)
    return rows.with_columns(pretrain_seconds=spent, search_seconds=searched), items


def test_hours_add_the_search_and_average_the_seeds(paid: Study) -> None:
    assert dict(hours(paid[0]).iter_rows()) == {"mae": 1.5, "pixels": 0.0, "simclr": 2.0}
    with pytest.raises(UserError, match="gpu"):
        hours(paid[0], ["gpu"])


def test_front_drops_what_is_dominated(paid: Study) -> None:
    rows, items = paid
    worse = rows.filter(pl.col("entrant") == "mae").with_columns(entrant=pl.lit("slow"), pretrain_seconds=pl.lit(9e9))
    front = pareto(pl.concat([rows, worse]), items)
    on_front = dict(front.group_by("entrant").agg(pl.col("on_front").any()).iter_rows())
    assert on_front["pixels"]
    assert on_front["mae"]
    assert not on_front["slow"]


def test_labels_per_hour_by_hand(paid: Study) -> None:
    rows, items = paid
    got = labels_per_hour(rows, items, reference=["pixels"])
    row = got.filter((pl.col("entrant") == "mae") & (pl.col("label_budget") == "5")).row(0, named=True)
    assert row["extra_hours"] == 1.5
    assert row["labels_per_hour"] == pytest.approx(row["saved"] / 1.5)
    assert row["low"] <= row["labels_per_hour"] <= row["high"]
    free = got.filter(pl.col("entrant") == "pixels")
    assert free["labels_per_hour"].null_count() == len(free)
    assert free["reason"].unique().to_list() == ["costs no more than the reference"]


def candidates() -> pl.DataFrame:
    cells = [(s, d, c) for s in range(3) for d in range(2) for c in range(4)]
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        [
            {"entrant": "m", "seed": s, "draw": d, "label_budget": "5", "n_labels": 50, "candidate": f"C={c}"}
            | {"selection_score": rng.random(), "test_score": rng.random()}
            for s, d, c in cells
        ]
    )


def test_gap_is_best_minus_selected() -> None:
    frame = candidates()
    row = optimism_gap(frame).row(0, named=True)
    by_hand = [
        part["test_score"].max() - part.sort("selection_score")["test_score"][-1]
        for _, part in frame.group_by("seed", "draw")
    ]
    assert row["gap"] == pytest.approx(np.mean(by_hand))
    assert row["gap"] == pytest.approx(row["best_on_test"] - row["at_selection"])
    assert row["n_candidates"] == 4
    assert optimism_gap(pl.concat([frame, frame]).sample(fraction=1, shuffle=True)).equals(optimism_gap(frame))


def test_ties_of_the_selection_count_by_their_mean() -> None:
    tied = candidates().with_columns(selection_score=pl.lit(0.5))
    assert optimism_gap(tied)["at_selection"].item() == pytest.approx(tied["test_score"].mean())
    with pytest.raises(UserError, match="candidate"):
        optimism_gap(tied.drop("candidate"))


def test_information_loss_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 5, 4000)
    noisy = np.where(rng.random(4000) < 0.4, rng.integers(0, 5, 4000), clean)
    entropy = mutual_info_score(clean, clean)
    assert information_loss(clean, noisy) == pytest.approx(1 - mutual_info_score(clean, noisy) / entropy)
    assert information_loss(clean, (clean + 1) % 5) == pytest.approx(0, abs=1e-12)
    assert information_loss(clean, rng.permutation(clean)) > 0.98
    with pytest.raises(UserError, match="one class"):
        information_loss(np.zeros(3, dtype=np.int64), np.arange(3))


def test_plane_is_the_paired_difference(study: Study) -> None:
    rows, items = study
    loss = pl.col("entrant").replace_strict({"pixels": None, "mae": 0.0, "simclr": 0.5}, return_dtype=pl.Float64)
    got = plane(rows.with_columns(information_loss=loss), items, baseline="pixels")
    assert got["information_loss"].unique().sort().to_list() == [0.0, 0.5]
    assert got["decided"].all()
    with pytest.raises(UserError, match="several values"):
        plane(rows.with_columns(information_loss=pl.col("draw")), items, baseline="pixels")
