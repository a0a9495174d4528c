"""From rows to scores: bitmaps, groups of test items, incomplete crossings, and what must not matter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from bench.errors import UserError
from bench.stats.curves import area, curves
from bench.stats.items import read_items, view_scores
from bench.stats.label_efficiency import labels_saved, labels_saved_overall
from bench.stats.layout import layout
from bench.stats.ranking import ranks
from bench.stats.stack import compare

Study = tuple[pl.DataFrame, pl.DataFrame]


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_views_agree_with_scikit_learn_on_what_is_left(metric: str) -> None:
    rng = np.random.default_rng(0)
    label = rng.choice(4, size=101, p=[0.6, 0.2, 0.15, 0.05])
    items = read_items(pl.DataFrame({"item": np.arange(101), "label": label}))
    right = rng.random((3, 101)) < 0.7
    views = view_scores([np.packbits(r).tobytes() for r in right], items, metric)
    score = {"accuracy": accuracy_score, "balanced_accuracy": balanced_accuracy_score}[metric]
    for view in range(21):
        kept = items.blocks != view - 1
        for r, got in zip(right, views[:, view], strict=True):
            predicted = np.where(r, label, (label + 1) % 4)
            assert got == pytest.approx(score(label[kept], predicted[kept]))


def test_blocks_are_balanced_within_classes(items_of: Callable[..., pl.DataFrame]) -> None:
    items = read_items(items_of(400))
    assert items.grouping == "blocks"
    assert (items.counts == 2).all()


@pytest.mark.parametrize(
    ("groups", "blocks", "grouping"), [(9, 20, "blocks"), (12, 12, "own groups"), (57, 20, "own groups")]
)
def test_own_groups_stay_whole(items_of: Callable[..., pl.DataFrame], groups: int, blocks: int, grouping: str) -> None:
    frame = items_of(570, groups=groups)
    items = read_items(frame)
    assert (items.grouping, items.blocks.max() + 1) == (grouping, blocks)
    if grouping == "own groups":
        assert all(len(np.unique(items.blocks[frame["group"].to_numpy() == g])) == 1 for g in range(groups))


def every_frame(rows: pl.DataFrame, items: pl.DataFrame) -> list[pl.DataFrame]:
    return [
        curves(rows, items),
        area(rows, items, metric="accuracy"),
        labels_saved(rows, items, reference=["pixels"]),
        labels_saved_overall(rows, items, reference=["pixels"]),
        ranks(rows, items).sort("entrant"),
    ]


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31))
def test_row_order_and_duplicates_do_not_matter(study: Study, seed: int) -> None:
    rows, items = study
    shuffled = pl.concat([rows, rows.sample(20, seed=seed)]).sample(fraction=1, shuffle=True, seed=seed)
    for expected, got in zip(
        every_frame(rows, items), every_frame(shuffled, items.sample(fraction=1, shuffle=True)), strict=True
    ):
        assert expected.equals(got)


def test_names_of_entrants_do_not_matter(study: Study) -> None:
    rows, items = study
    names = {"pixels": "pixels", "mae": "z", "simclr": "a"}
    renamed = rows.with_columns(pl.col("entrant").replace_strict(names))
    for expected, got in zip(every_frame(rows, items), every_frame(renamed, items), strict=True):
        expected = expected.with_columns(pl.col("entrant").replace_strict(names)).sort("entrant", maintain_order=True)
        got = got.sort("entrant", maintain_order=True)
        for column in expected.columns:
            if expected[column].dtype == pl.Float64:
                np.testing.assert_allclose(got[column].to_numpy(), expected[column].to_numpy(), rtol=1e-9, atol=1e-12)
            else:
                assert got[column].equals(expected[column])


def test_missing_cells_cost_a_seed_or_a_draw(study: Study) -> None:
    rows, items = study
    fewer = rows.filter(~((pl.col("entrant") == "mae") & (pl.col("seed") == 2) & (pl.col("label_budget") != "1")))
    stack = compare(layout(fewer, items, metric="accuracy"), ["mae", "pixels"])
    assert stack is not None
    assert (stack.n_seeds, stack.n_draws) == ({"mae": 2, "pixels": 0}, 4)
    assert stack.cells == 2 * 4 * 6 + 4 * 6
    assert stack.coverage == pytest.approx(stack.cells / (stack.cells + 4))


def test_draws_that_one_entrant_was_never_asked_for_are_left_out_for_all(study: Study) -> None:
    """A reference on two draws beside an entrant on four: no seed is lost for it."""
    rows, items = study
    fewer = rows.filter(~((pl.col("entrant") == "simclr") & (pl.col("draw") > 1)))
    stack = compare(layout(fewer, items, metric="accuracy"), ["mae", "simclr"])
    assert stack is not None
    whole = compare(layout(rows, items, metric="accuracy"), ["mae", "simclr"])
    assert whole is not None
    assert stack.n_seeds == whole.n_seeds
    assert (stack.n_draws, whole.n_draws) == (2, 4)
    assert stack.coverage < whole.coverage == 1
    common = rows.filter(pl.col("draw") < 2)
    again = compare(layout(common, items, metric="accuracy"), ["mae", "simclr"])
    assert again is not None
    for name in ("mae", "simclr"):
        np.testing.assert_array_equal(stack.curves[name].values, again.curves[name].values)
    apart = rows.filter((pl.col("draw") < 2) == (pl.col("entrant") == "simclr"))
    assert compare(layout(apart, items, metric="accuracy"), ["mae", "simclr"]) is None


def test_leave_one_out_curves_are_those_of_the_rows_left(study: Study) -> None:
    rows, items = study
    stack = compare(layout(rows, items, metric="balanced_accuracy"), ["mae", "simclr"])
    assert stack is not None
    where = {factor.name: factor.rows for factor in stack.factors}
    without_seed = layout(rows.filter(pl.col("seed") != 1), items, metric="balanced_accuracy").scores["mae"]
    expected = without_seed.values[..., 0].mean((0, 1))
    np.testing.assert_allclose(stack.curves["mae"].values[where["seeds of mae"]][1], expected)
    np.testing.assert_allclose(
        stack.curves["simclr"].values[where["seeds of mae"]][1], stack.curves["simclr"].values[0]
    )


def test_budget_all_serves_every_draw(study: Study) -> None:
    rows, items = study
    stack = compare(layout(rows, items, metric="accuracy"), ["mae"])
    assert stack is not None
    draws = next(factor.rows for factor in stack.factors if factor.name == "draws")
    assert np.ptp(stack.curves["mae"].values[draws, -1]) == pytest.approx(0, abs=1e-12)
    assert np.ptp(stack.curves["mae"].values[draws, 0]) > 0


def test_labels_of_the_selection_count(study: Study) -> None:
    rows, items = study
    held_out = rows.with_columns(n_selection_labels=pl.lit(300))
    assert curves(held_out, items)["n_labels"].to_list() == [n + 300 for n in curves(rows, items)["n_labels"]]


def test_failed_rows_do_not_count(study: Study) -> None:
    rows, items = study
    failed = rows.with_columns(status=pl.when(pl.col("draw") == 3).then(pl.lit("failed")).otherwise(pl.lit("ok")))
    assert curves(failed, items).equals(curves(rows.filter(pl.col("draw") != 3), items))


def test_mistakes_are_named(study: Study) -> None:
    rows, items = study
    with pytest.raises(UserError, match="n_labels"):
        curves(rows.drop("n_labels"), items)
    with pytest.raises(UserError, match="macro_f1"):
        curves(rows, items, metric="macro_f1")
    with pytest.raises(UserError, match="label"):
        curves(rows, items.drop("label"))
    with pytest.raises(UserError, match="400"):
        curves(rows, items.head(100))
    with pytest.raises(UserError, match="not numeric"):
        curves(rows.with_columns(word=pl.lit("good")), items, metric="word")
    with pytest.raises(UserError, match="not its score"):
        curves(rows, items, metric="draw")
    with pytest.raises(UserError, match="two different measurements"):
        curves(pl.concat([rows, rows.with_columns(accuracy=pl.col("accuracy") + 0.1)]), None, metric="accuracy")
    with pytest.raises(UserError, match="with a seed"):
        curves(rows.with_columns(seed=pl.when(pl.col("seed") > 0).then("seed")), items)


def test_a_layout_stands_for_its_rows_and_their_budgets(study: Study) -> None:
    rows, items = study
    data = layout(rows, items, metric="accuracy")
    assert layout(data, None, metric="accuracy") is data
    budgets = rows["label_budget"].unique().sort().to_list()[:2]
    part = rows.filter(pl.col("label_budget").is_in(budgets))
    for statistic in (curves, area, ranks):
        assert statistic(data, None, metric="accuracy").equals(statistic(rows, items, metric="accuracy"))
        assert statistic(data.only(budgets), None, metric="accuracy").equals(statistic(part, items, metric="accuracy"))
    assert data.only([]).scores == {}
    overall = [labels_saved_overall(*given, reference=["pixels"], metric="accuracy") for given in ((data, None), study)]
    assert overall[0].equals(overall[1])


def test_chunks_of_bitmaps_change_no_score(monkeypatch: pytest.MonkeyPatch, study: Study) -> None:
    rows, items = study
    expected = layout(rows, items, metric="balanced_accuracy").scores
    monkeypatch.setattr("bench.stats.items.CHUNK_BYTES", 3 * len(items))
    found = layout(rows, items, metric="balanced_accuracy").scores
    for name, scores in expected.items():
        np.testing.assert_array_equal(found[name].values, scores.values)
