from __future__ import annotations

import json

import polars as pl
import pytest

from bench.results.opening import Opened, open_results
from bench.results.sweep import BUDGET, ENCODER, FUSE, LAYER, Axis, Field, axes_of, fields_of, heat, lines
from bench.results.sweep_figures import heat_figure, response_figure
from bench.stats.response import response
from tests.results.synthetic import Truth, write_study

MASKS = [
    Truth("mae", "linear", level, 0.25, (("mask_ratio", ratio),))
    for ratio, level in ((0.25, -0.5), (0.5, -0.1), (0.75, -0.3))
]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    root = tmp_path_factory.mktemp("swept")
    write_study(root, entrants=[*MASKS, Truth("pixels", "linear", -0.5, 0.2, seeded=False)], seeds=3, draws=3)
    return open_results(root)


def grid(**columns: list[object]) -> pl.DataFrame:
    """Rows of one method and protocol with these columns."""
    size = len(next(iter(columns.values())))
    fixed = {"status": "ok", "method": "m", "protocol": "linear", "layer": "last", "fuse": None, "encoder": "e"}
    fixed |= {"label_budget": "1", "n_labels": 10, "axes": "{}", "score_column": 0.5}
    return pl.DataFrame({name: [value] * size for name, value in fixed.items()} | columns)


def test_an_axis_is_what_took_two_values(swept: Opened) -> None:
    (axis,) = axes_of(swept.rows)
    assert (axis.label, axis.field.values, axis.numbers) == (
        "mae.mask_ratio",
        ("0.25", "0.5", "0.75"),
        (0.25, 0.5, 0.75),
    )


def test_words_and_switches_are_axes_without_numbers() -> None:
    axes = [json.dumps({"skip": skip, "encoder": name}) for skip in (True, False) for name in ("b", "a")]
    encoder, skip = axes_of(grid(axes=axes))
    assert (encoder.field, encoder.numbers) == (Field("encoder", ("a", "b")), None)
    assert skip.places() == {"false": 0, "true": 1}


def test_a_line_is_the_response_of_the_statistics(swept: Opened) -> None:
    (axis,) = axes_of(swept.rows)
    (line,) = lines(swept, axis, metric="balanced_accuracy", protocol="linear")
    ratio = pl.col("axes").str.extract(r"([\d.]+)").cast(pl.Float64).alias("mask_ratio")
    rows = swept.rows.filter(pl.col("method") == "mae").with_columns(ratio)
    expected = response(rows, swept.test_items, axis="mask_ratio")
    assert line.name == "linear"
    assert line.table.drop("text").equals(expected)
    assert line.table["text"].to_list() == ["0.25", "0.5", "0.75"]
    assert line.plausible[0] == "0.5"
    assert line.best is not None
    assert 0.4 < line.best["optimum"] < 0.75


def test_nothing_in_common_is_no_line(swept: Opened) -> None:
    (axis,) = axes_of(swept.rows)
    assert lines(swept, axis, metric="balanced_accuracy", protocol="knn") == []
    assert lines(swept, axis, metric="balanced_accuracy", protocol="linear", budget="7") == []


def test_what_else_differs_makes_lines_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("layers")
    truths = [
        Truth("mae", "linear", level, 0.2, (("mask_ratio", ratio),), layer=layer, budgets=("1", "10"))
        for ratio, level in ((0.25, -0.5), (0.75, -0.3))
        for layer in ("block1", "block2")
    ]
    write_study(root, entrants=truths, seeds=2, draws=2)
    opened = open_results(root)
    (axis,) = axes_of(opened.rows)
    found = lines(opened, axis, metric="balanced_accuracy", protocol="linear")
    assert {line.name for line in found} == {"@block1", "@block2"}
    assert all(line.best is None for line in found)  # two values have no parabola


def test_fields_are_what_varies_in_natural_order() -> None:
    budgets, layers = ["10", "2", "all", "2"], ["b", "a", "a", "b"]
    rows = grid(label_budget=budgets, n_labels=[100, 20, 900, 20], layer=layers)
    assert fields_of(rows) == [Field(BUDGET, ("2", "10", "all")), Field(LAYER, ("a", "b"))]
    assert {field.name for field in fields_of(grid(fuse=["x", "y"], encoder=["e", "f"]))} == {FUSE, ENCODER}


def test_a_cell_is_the_mean_over_what_is_left() -> None:
    rows = grid(layer=["a", "a", "b", "b"], label_budget=["1", "2", "1", "2"], score_column=[0.1, 0.2, 0.3, 0.4])
    layer, budget = Field(LAYER, ("a", "b")), Field(BUDGET, ("1", "2"))
    cells, others, even = heat(rows, layer, budget, "score_column")
    assert (others, even) == ([], True)
    assert cells.rows() == [("a", "1", 0.1, 1), ("a", "2", 0.2, 1), ("b", "1", 0.3, 1), ("b", "2", 0.4, 1)]


def test_cells_average_over_the_same_conditions() -> None:
    layers, fuses = ["a", "a", "b", "a", "a", "b"], ["x", "x", "x", "y", "y", "y"]
    budgets, scores = ["1", "all", "1", "1", "all", "1"], [0.2, 0.9, 0.4, 0.4, 0.9, 0.6]
    rows = grid(layer=layers, fuse=fuses, label_budget=budgets, score_column=scores)
    layer, fuse = Field(LAYER, ("a", "b")), Field(FUSE, ("x", "y"))
    cells, others, even = heat(rows, layer, fuse, "score_column")
    assert (others, even) == ([], True)  # budget "all" is measured for one layer only, and left out
    assert cells["score"].to_list() == [0.2, 0.4, 0.4, 0.6]


def test_cells_that_share_no_condition_are_told() -> None:
    rows = grid(layer=["a", "b", "a", "b"], fuse=["x", "y", "x", "y"], label_budget=["1", "2", "5", "10"])
    _, others, even = heat(rows, Field(LAYER, ("a", "b")), Field(FUSE, ("x", "y")), "score_column")
    assert (others, even) == ([BUDGET], False)


def test_figures_mark_the_plausible_and_escape_names(swept: Opened) -> None:
    (axis,) = axes_of(swept.rows)
    found = lines(swept, axis, metric="balanced_accuracy", protocol="linear")
    (trace,) = response_figure(found, axis, metric="balanced_accuracy").data
    table = found[0].table
    assert [not symbol.endswith("-open") for symbol in trace.marker.symbol] == table["plausible"].to_list()
    evil = Field("<b>", ("<i>", "x"))
    cells = pl.DataFrame({"x": ["<i>"], "y": ["x"], "score": [0.5], "rows": [1]})
    assert "<i>" not in heat_figure(cells, evil, evil, metric="accuracy").to_json()
    odd = Axis("m", evil, None)
    assert "<i>" not in response_figure([], odd, metric="accuracy").to_json()
