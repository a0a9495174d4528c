"""Ranks and Holm's correction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bench.stats.multiplicity import holm, holm_levels
from bench.stats.ranking import ranks

Study = tuple[pl.DataFrame, pl.DataFrame]
p_values = arrays(np.float64, st.integers(1, 6), elements=st.floats(0, 1))


def test_clear_order_has_narrow_intervals(study: Study) -> None:
    got = ranks(*study)
    assert got["entrant"].to_list() == ["simclr", "mae", "pixels"]
    assert got.select("rank", "low", "high").rows() == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]


def test_twins_share_their_interval(
    rows_of: Callable[..., pl.DataFrame], items_of: Callable[..., pl.DataFrame]
) -> None:
    rows = rows_of({"a": 1.0, "b": 1.001, "c": 9.0})
    got = {row["entrant"]: row for row in ranks(rows, items_of()).iter_rows(named=True)}
    assert [(got[e]["low"], got[e]["high"]) for e in "abc"] == [(2, 3), (2, 3), (1, 1)]


def test_ranks_use_common_cells_alone(study: Study) -> None:
    rows, items = study
    short = rows.filter((pl.col("entrant") != "mae") | pl.col("label_budget").is_in(["5", "10"]) & (pl.col("draw") < 3))
    got = {row["entrant"]: row for row in ranks(short, items).iter_rows(named=True)}
    assert got["mae"]["cells"] == got["simclr"]["cells"] == 3 * 3 * 2
    assert got["simclr"]["coverage"] == pytest.approx(18 / (3 * 4 * 6))


def test_no_common_budget_no_rank(study: Study) -> None:
    rows, items = study
    apart = rows.filter((pl.col("entrant") == "mae") == (pl.col("label_budget") == "5"))
    assert ranks(apart, items)["rank"].to_list() == [None] * 3


def test_lower_loss_ranks_first(study: Study) -> None:
    rows, items = study
    assert ranks(rows, items, metric="nll")["entrant"].to_list()[0] == "simclr"


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


@settings(deadline=None)
@given(p_values, st.sampled_from([0.01, 0.05, 0.2]))
def test_levels_reject_what_holm_rejects(p: np.ndarray, alpha: float) -> None:
    assert ((p <= holm_levels(p, alpha)) == (holm(p) <= alpha * (1 + 1e-12))).all()
