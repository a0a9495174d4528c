"""The plane of a study: columns, anchors, break-even, words and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.results.export import export
from bench.results.opening import Opened, open_results
from bench.results.plane import Plane, column_text, first_zero, gain_text, planes
from bench.results.plane_figure import plane_figure, plane_print
from bench.results.plane_page import plane_section
from bench.results.verify import verify
from tests.results.noisy import BUDGETS, LEVELS, write_noisy
from tests.results.synthetic import write_study


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    root = tmp_path_factory.mktemp("noisy")
    write_noisy(root)
    return open_results(root)


@pytest.fixture(scope="module")
def plane(noisy: Opened) -> Plane:
    (found,) = planes(noisy, "miou")
    return found


def test_columns_run_from_clean_to_permuted_labels(plane: Plane) -> None:
    assert [column.label for column in plane.columns] == ["clean", "flip 0.5", "flip 1", "permuted"]
    assert [column.anchor for column in plane.columns] == [True, False, False, True]
    losses = [(column.realised_noise_rate, column.information_loss) for column in plane.columns]
    assert np.array(losses) == pytest.approx(np.array([(wrong, lost) for _, _, wrong, lost, _ in LEVELS]))
    assert plane.budgets == BUDGETS
    assert plane.baseline == "random_init + segmentation"


def test_cells_are_gains_over_random_initialisation(plane: Plane, noisy: Opened) -> None:
    scores = noisy.scored("miou").group_by("entrant", "label_budget").agg(pl.col("miou").mean())
    of = {(entrant, budget): score for entrant, budget, score in scores.iter_rows()}
    entrant = next(name for name, _ in of if "rate=0.5" in name)
    cell = plane.cell("flip 0.5", "16")
    assert cell is not None
    assert cell["difference"] == pytest.approx(of[entrant, "16"] - of[plane.baseline, "16"])
    assert cell["low"] < cell["difference"] < cell["high"]
    assert plane.cell("flip 0.7", "16") is None


def test_break_even_runs_between_decided_cells_alone(plane: Plane) -> None:
    undecided = {
        (x, y)
        for x, column in enumerate(plane.columns)
        for y, budget in enumerate(plane.budgets)
        if not (cell := plane.cell(column.label, budget)) or not cell["decided"]
    }
    pairs = plane.break_even()
    assert pairs
    for first, second in pairs:
        assert not {first, second} & undecided
        assert (first[0], second[0]) == (2, 3)


def test_words_name_the_first_noise_whose_gain_may_be_none(plane: Plane) -> None:
    text = first_zero(plane, "64")
    assert text.startswith("64 labelled images: the gain in mean IoU is above zero up to 38 % of the information lost")
    assert text.endswith("zero inside its interval at 71 % of the information lost (flip 1, 45 % of the pixels wrong).")
    assert "lies below zero at 99 %" in first_zero(plane, "4")


def test_noise_seeds_are_realisations_of_one_column(tmp_path: Path, plane: Plane) -> None:
    write_noisy(tmp_path, realisations=(0, 1, 2))
    (found,) = planes(open_results(tmp_path), "miou")
    assert [column.label for column in found.columns] == [column.label for column in plane.columns]
    counts = dict(found.cells.select("entrant", "n_noise").unique().iter_rows())
    assert counts == {"clean": 1, "flip 0.5": 3, "flip 1": 3, "permuted": 3}
    assert not found.cells["mark"].str.contains("noise").any()
    assert plane.cells.filter(pl.col("entrant") == "flip 1")["mark"].str.contains("one noise realisation").all()


def test_what_else_differs_makes_planes_of_its_own(tmp_path: Path) -> None:
    write_noisy(tmp_path, handling=("none", "label_smoothing"))
    names = [plane.name for plane in planes(open_results(tmp_path), "miou")]
    assert names == ["handling=label_smoothing: segmentation", "handling=none: segmentation"]


def test_without_noise_or_baseline_there_is_no_plane(tmp_path: Path, noisy: Opened) -> None:
    write_study(tmp_path, seeds=2, draws=2)
    assert planes(open_results(tmp_path), "balanced_accuracy") == []
    without = noisy.rows.filter(pl.col("method") != "random_init")
    alone = Opened(noisy.study, without, noisy.items, (), (), without.height)
    assert planes(alone, "miou") == []
    clean = noisy.rows.filter(~pl.col("axes").str.contains("flip|permuted"))
    assert planes(Opened(noisy.study, clean, noisy.items, (), (), clean.height), "miou") == []


def test_figures_show_every_cell_and_the_line(plane: Plane) -> None:
    figure = plane_figure(plane)
    (heat,) = figure.data
    assert [len(row) for row in heat.z] == [4, 4, 4]
    assert len(figure.layout.shapes) == len(plane.break_even())
    assert heat.text[2][2].startswith("(+")
    drawn = plane_print(plane)
    texts = [text.get_text() for text in drawn.axes[0].texts]
    assert len(texts) == 12
    assert len(drawn.axes[0].lines) == len(plane.break_even())


def test_export_writes_the_plane(tmp_path: Path) -> None:
    write_noisy(tmp_path / "results", seeds=2)
    names = {path.name for path in export(tmp_path / "results", tmp_path / "to", "figures")}
    assert {"plane_segmentation.svg", "plane_segmentation.pdf", "plane_segmentation.png", "plane_1.html"} <= names


def test_a_bundle_shows_the_plane_and_verifies(tmp_path: Path) -> None:
    write_noisy(tmp_path / "results", seeds=2)
    export(tmp_path / "results", tmp_path / "bundle", "bundle")
    assert verify(tmp_path / "bundle") == []
    page = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    (plane,) = planes(open_results(tmp_path / "results"), "miou")
    assert f"| pretrained on | {' | '.join(f'{budget} images' for budget in BUDGETS)} |" in page
    for column in plane.columns:
        (line,) = (line for line in page.splitlines() if line.startswith(f"| {column_text(column)} |"))
        cells = [plane.cell(column.label, budget) for budget in plane.budgets]
        assert all(cell and gain_text(cell) in part for cell, part in zip(cells, line.split("|")[2:-1], strict=True))
    assert all(f"- {first_zero(plane, budget)}" in page for budget in plane.budgets)


def test_a_study_without_noise_has_no_plane_on_its_page(tmp_path: Path) -> None:
    write_study(tmp_path / "results")
    assert plane_section(open_results(tmp_path / "results"), "balanced_accuracy") == ""
