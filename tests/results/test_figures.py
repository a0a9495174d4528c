from __future__ import annotations

import itertools
import math

import polars as pl
import pytest

from bench.results.axes import factor_axis, labels_axis, padded
from bench.results.figures import curve_figure, saved_figure
from bench.results.forest import forest_figure
from bench.results.leaderboard import Board, saved_table
from bench.results.opening import Opened
from bench.results.palette import GREY, Style, styles


@pytest.fixture
def looks(board: Board) -> dict[str, Style]:
    return styles(board.frame["entrant"].to_list(), board.reference)


def test_styles_are_distinct_and_the_reference_grey() -> None:
    names = [f"entrant {number}" for number in range(20)]
    found = styles(names, reference=names[3:5])
    assert len(set(found.values())) == 20
    assert {found[name].colour for name in names[3:5]} == {GREY}
    assert GREY not in {found[name].colour for name in names if name not in names[3:5]}
    assert found["entrant 0"].fill(0.5) == "rgba(31,119,180,0.5)"


def test_curves_draw_a_band_and_a_line_for_each_entrant(board: Board, looks: dict[str, Style]) -> None:
    order = ["simclr + linear", "pixels + linear"]
    figure = curve_figure(board.curves, looks, metric="balanced_accuracy", order=order)
    lines = {trace.name: trace for trace in figure.data if trace.mode == "lines+markers"}
    assert set(lines) == set(order)
    part = board.curves.filter(pl.col("entrant") == "simclr + linear").sort("n_labels")
    assert list(lines["simclr + linear"].x) == part["n_labels"].to_list()
    assert list(lines["simclr + linear"].y) == part["score"].to_list()
    bands = {trace.name: trace for trace in figure.data if trace.fill == "toself"}
    assert list(bands["simclr + linear"].y)[: part.height] == part["high"].to_list()
    assert list(bands["simclr + linear"].y)[part.height :] == part["low"].to_list()[::-1]
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis.tickvals) == [10, 20, 50, 100, 500, 10_000]
    assert lines["simclr + linear"].legendrank < lines["pixels + linear"].legendrank


def test_curves_without_intervals_or_rows_are_drawn_as_far_as_they_go(board: Board, looks: dict[str, Style]) -> None:
    bare = board.curves.with_columns(pl.lit(None, dtype=pl.Float64).alias("low"))
    figure = curve_figure(bare, looks, metric="accuracy", order=["simclr + linear"])
    assert [len(trace.x) for trace in figure.data] == [0, 6]
    empty = curve_figure(board.curves.clear(), looks, metric="accuracy", order=["simclr + linear"])
    assert len(empty.data) == 0


def test_the_forest_has_a_row_an_entrant_best_on_top(board: Board, looks: dict[str, Style]) -> None:
    ranked = board.ranked
    figure = forest_figure(ranked, looks, score_title="balanced accuracy", saved_title="labels saved")
    points = [trace for trace in figure.data if trace.mode == "markers"]
    scores = [trace for trace in points if trace.xaxis == "x"]
    assert [trace.x[0] for trace in scores] == ranked["score"].to_list()
    assert [trace.y[0] for trace in scores] == [-place for place in range(ranked.height)]
    factors = [trace for trace in points if trace.xaxis == "x2"]
    assert [trace.x[0] for trace in factors] == ranked["saved"].to_list()
    assert figure.layout.xaxis2.type == "log"
    names = [note.text for note in figure.layout.annotations if note.xanchor == "left"]
    assert names[0] == "1  <b>simclr + linear</b>"
    assert "random_init + finetune</b> (reference)" in names[6]


def test_names_and_factors_are_no_markup(board: Board) -> None:
    row = board.ranked.head(1).with_columns(
        entrant=pl.lit("<a href='x'>&"), saved_censored=pl.lit(">="), saved=4.1, saved_low=2.0, saved_high=math.inf
    )
    figure = forest_figure(row, styles(["<a href='x'>&"]), score_title="", saved_title="")
    texts = [note.text for note in figure.layout.annotations]
    assert texts == ["1  <b>&lt;a href='x'&gt;&amp;</b>", "≥ 4.1× (from 2.0)"]
    assert [trace.marker.symbol for trace in figure.data if trace.mode == "markers"] == ["circle", "triangle-right"]


def test_an_undefined_factor_leaves_its_place_empty(board: Board, looks: dict[str, Style]) -> None:
    row = board.ranked.head(1).with_columns(pl.lit(None, dtype=pl.Float64).alias("saved"))
    figure = forest_figure(row, looks, score_title="", saved_title="")
    assert [trace.xaxis for trace in figure.data if trace.mode == "markers"] == ["x"]


def test_labels_saved_tells_bounds_from_values(opened: Opened, looks: dict[str, Style]) -> None:
    table = saved_table(opened)
    name = "simclr + finetune"
    figure = saved_figure(table, looks, order=[name])
    part = table.filter(pl.col("entrant") == name).sort("n_labels")
    line = next(trace for trace in figure.data if trace.mode == "lines+markers")
    bounds = next(trace for trace in figure.data if trace.mode == "markers")
    assert list(line.y) == part.filter(pl.col("censored") == "")["factor"].to_list()
    assert list(bounds.y) == part.filter(pl.col("censored") != "")["factor"].to_list()
    assert set(bounds.marker.symbol) <= {"triangle-up-open", "triangle-down-open"}
    assert figure.layout.yaxis.type == "log"


def test_axes_hold_the_values() -> None:
    axis = factor_axis([0.2, 3.0, None, math.inf, 0.0])
    low, high = (10**end for end in axis["range"])
    assert low < 0.2 < 3.0 < high
    assert axis["ticktext"] == ["1/4×", "1/2×", "1×", "2×"]
    assert len(factor_axis([1 / 60, 200.0], most=5)["tickvals"]) <= 5
    assert 1.0 in factor_axis([])["tickvals"]
    assert padded([0.5, None, 0.7]) == pytest.approx([0.488, 0.712])
    assert padded([None]) is None


def test_ticks_of_labels_do_not_collide() -> None:
    axis = labels_axis(pl.DataFrame({"n_labels": [10.0, 11.0, 20.0, 22.0, 50.0]}))
    ticks = axis["tickvals"]
    assert all(right >= 1.4 * left for left, right in itertools.pairwise(ticks))
    narrow = labels_axis(pl.DataFrame({"n_labels": [142.0, 146.0]}))
    assert narrow["tickvals"] == [142, 146]
    low, high = narrow["range"]
    assert math.log10(146 / 142) == pytest.approx((high - low) / 1.12)  # the lines fill the figure
    assert labels_axis(pl.DataFrame({"n_labels": []}, schema={"n_labels": pl.Float64})).get("tickvals") is None
