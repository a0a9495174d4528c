"""Labels saved: known factors, censoring, symmetry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from bench.errors import UserError
from bench.stats.label_efficiency import labels_saved, labels_saved_at, labels_saved_overall

Study = tuple[pl.DataFrame, pl.DataFrame]


def by(frame: pl.DataFrame, *columns: str) -> dict[object, dict[str, object]]:
    keys = [row if len(columns) > 1 else row[0] for row in frame.select(*columns).iter_rows()]
    return dict(zip(keys, frame.iter_rows(named=True), strict=True))


def line(
    entrant: str, ahead: float, budgets: tuple[int, ...] = (1, 2, 4, 8, 16), seed: int | None = None
) -> list[dict]:
    """Noise-free rows whose probit is linear in log2 labels, two draws a hair apart."""
    from scipy.special import ndtr

    return [
        {"entrant": entrant, "seed": seed, "draw": d, "label_budget": str(n), "n_labels": n, "miou": float(ndtr(y))}
        for n in budgets
        for d in range(2)
        for y in [-1 + 0.3 * (np.log2(n) + ahead) + 0.001 * d]
    ]


def exact(*parts: list[dict]) -> pl.DataFrame:
    return pl.DataFrame([row for part in parts for row in part], schema_overrides={"seed": pl.Int64})


def test_exact_factors() -> None:
    rows = exact(line("r", 0), line("m", 1))
    kwargs = {"reference": ["r"], "metric": "miou"}
    at = by(labels_saved(rows, None, **kwargs), "entrant", "label_budget")
    for budget in ("1", "2", "4", "8"):
        assert at["m", budget]["factor"] == pytest.approx(2, rel=1e-3)
    assert by(labels_saved_overall(rows, None, **kwargs), "entrant")["m"]["factor"] == pytest.approx(2, rel=1e-3)
    assert by(labels_saved_at(rows, None, target=0.4, **kwargs), "entrant")["m"]["factor"] == pytest.approx(2, rel=1e-3)


def test_censored_above_and_below() -> None:
    rows = exact(line("r", 0), line("m", 10), line("w", -10))
    at = by(labels_saved(rows, None, reference=["r"], metric="miou"), "entrant", "label_budget")
    ahead, behind = at["m", "2"], at["w", "4"]
    assert (ahead["censored"], ahead["factor"], ahead["high"]) == (">=", 8.0, np.inf)
    assert (behind["censored"], behind["factor"], behind["low"]) == ("<=", 0.25, 0.0)
    overall = by(labels_saved_overall(rows, None, reference=["r"], metric="miou"), "entrant")["m"]
    assert overall["factor"] is None
    assert "no range" in str(overall["reason"])


def test_target_out_of_reach() -> None:
    rows = exact(line("r", 0), line("m", 2))
    between = by(labels_saved_at(rows, None, target=0.65, reference=["r"], metric="miou"), "entrant")["m"]
    assert between["censored"] == ">="
    assert between["high"] == np.inf
    assert float(str(between["low"])) <= float(str(between["factor"]))
    for target, reason in ((0.99, "neither"), (0.03, "both")):
        row = by(labels_saved_at(rows, None, target=target, reference=["r"], metric="miou"), "entrant")["m"]
        assert row["factor"] is None
        assert str(row["reason"]).startswith(reason)


def test_the_reference_saves_nothing_on_itself(study: Study) -> None:
    rows, items = study
    for frame in (
        labels_saved(rows, items, reference=["pixels"]),
        labels_saved_overall(rows, items, reference=["pixels"]),
        labels_saved_at(rows, items, target=0.99, reference=["pixels"]),
    ):
        own = frame.filter(pl.col("entrant") == "pixels")
        assert set(own.select("factor", "low", "high").unique().row(0)) == {1.0}


@pytest.mark.parametrize("form", ["jackknife", "anova"])
def test_swapping_entrant_and_reference_inverts(study: Study, form: str) -> None:
    rows, items = study

    def inverted(frame: Callable[..., pl.DataFrame], **kwargs: object) -> None:
        a = by(frame(rows, items, reference=["simclr"], form=form, **kwargs), "entrant")["mae"]
        b = by(frame(rows, items, reference=["mae"], form=form, **kwargs), "entrant")["simclr"]
        assert a["factor"] == pytest.approx(1 / b["factor"])
        assert (a["low"], a["high"]) == pytest.approx((1 / b["high"], 1 / b["low"]))

    inverted(labels_saved_overall)
    inverted(labels_saved_at, target=0.5)


def test_truth_is_inside_and_estimates_are_inside_their_intervals(study: Study) -> None:
    rows, items = study
    overall = by(labels_saved_overall(rows, items, reference=["pixels"]), "entrant")
    for entrant, factor in (("mae", 4), ("simclr", 8)):
        assert overall[entrant]["low"] < factor < overall[entrant]["high"]
    at = labels_saved(rows, items, reference=["pixels"]).drop_nulls("factor")
    assert ((at["low"] <= at["factor"]) & (at["factor"] <= at["high"])).all()


def test_better_reference_at_each_budget() -> None:
    crossing = line("steep", -4, (1, 2)) + line("steep", 4, (8, 16))
    rows = exact(line("flat", 0), crossing, line("m", 1))
    saved = labels_saved_overall(rows, None, reference=["flat", "steep"], metric="miou")
    assert saved.filter(pl.col("entrant") == "m")["reference"].to_list() == ["flat, steep"]
    alone = by(labels_saved(rows, None, reference=["flat"], metric="miou"), "entrant", "label_budget")
    both = by(labels_saved(rows, None, reference=["flat", "steep"], metric="miou"), "entrant", "label_budget")
    assert both["m", "1"]["factor"] == pytest.approx(alone["m", "1"]["factor"])
    assert both["m", "8"]["factor"] < alone["m", "8"]["factor"]


def test_lower_is_better_for_losses(study: Study) -> None:
    rows, items = study
    saved = by(labels_saved_overall(rows, items, reference=["pixels"], metric="nll"), "entrant")
    assert saved["mae"]["factor"] > 1.5
    assert saved["mae"]["mark"] == "few seeds, this test set only"


def test_one_seed_keeps_its_mark_and_no_replicate_has_no_interval(study: Study) -> None:
    rows, items = study
    one = by(
        labels_saved_overall(rows.filter(pl.col("seed").fill_null(0) == 0), items, reference=["pixels"]), "entrant"
    )
    assert one["mae"]["mark"] == "one seed"
    single = exact(line("r", 0), line("m", 1)).filter(pl.col("draw") == 0)
    row = by(labels_saved(single, None, reference=["r"], metric="miou"), "entrant", "label_budget")["m", "2"]
    assert row["factor"] == pytest.approx(2)
    assert row["low"] is None
    assert row["high"] is None


def test_budgets_may_differ_between_entrant_and_reference() -> None:
    rows = exact(line("r", 0), line("m", 1, (2, 8)))
    at = by(labels_saved(rows, None, reference=["r"], metric="miou"), "entrant", "label_budget")
    assert at["m", "2"]["factor"] == pytest.approx(2, rel=1e-3)


def test_nothing_complete_is_said() -> None:
    rows = exact(line("r", 0), line("m", 1)).with_columns(draw=pl.col("draw") + 10 * (pl.col("entrant") == "m"))
    row = by(labels_saved_overall(rows, None, reference=["r"], metric="miou"), "entrant")["m"]
    assert row["factor"] is None
    assert "complete" in str(row["reason"])


def test_references_must_exist(study: Study) -> None:
    rows, items = study
    with pytest.raises(UserError, match="pixel"):
        labels_saved(rows, items, reference=["pixel"])
    with pytest.raises(UserError, match="reference"):
        labels_saved_overall(rows, items, reference=[])
