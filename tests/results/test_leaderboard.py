from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from bench.errors import UserError
from bench.results.leaderboard import COLUMNS, Board, curves_table, leaderboard, make_board, saved_table
from bench.results.opening import Opened, open_results
from bench.results.provenance import Code
from tests.results.synthetic import ENTRANTS, SOURCE, VERSIONS, Truth, write_study


def line(frame: pl.DataFrame, entrant: str) -> dict[str, object]:
    return frame.row(by_predicate=pl.col("entrant") == entrant, named=True)


def test_every_entrant_has_one_line_with_every_column(board: Board) -> None:
    assert board.frame.columns == list(COLUMNS)
    assert board.frame["entrant"].n_unique() == board.frame.height == len(ENTRANTS)


def test_the_best_stands_first_and_places_follow_the_scores(board: Board) -> None:
    ranked = board.ranked
    assert ranked["entrant"][0] == "simclr + linear"
    assert ranked["place"].to_list() == list(range(1, ranked.height + 1))
    assert ranked["score"].is_sorted(descending=True)
    assert (ranked["rank_low"] <= ranked["place"]).all()
    assert (ranked["place"] <= ranked["rank_high"]).all()


def test_the_score_is_the_mean_over_log_labels(board: Board, opened: Opened) -> None:
    rows = opened.rows.filter(pl.col("entrant") == "pixels + linear")
    means = rows.group_by("n_labels").agg(pl.col("balanced_accuracy").mean()).sort("n_labels")
    x = np.log2(means["n_labels"].to_numpy())
    expected = np.trapezoid(means["balanced_accuracy"].to_numpy(), x) / (x[-1] - x[0])
    assert line(board.frame, "pixels + linear")["score"] == pytest.approx(expected)
    assert board.span == (10, 10_000)


def test_areas_are_taken_over_the_range_that_all_have(tmp_path: Path) -> None:
    short = replace(ENTRANTS[3], budgets=("5", "10", "50"))
    write_study(tmp_path, entrants=[*ENTRANTS[:1], short], seeds=2, draws=2)
    board = make_board(open_results(tmp_path))
    assert board.span == (50, 500)
    scores = [point["score"] for point in line(board.frame, "pixels + linear")["budgets"]][2:5]
    x = np.log2([50, 100, 500])
    expected = np.trapezoid(scores, x) / (x[-1] - x[0])
    assert line(board.frame, "pixels + linear")["score"] == pytest.approx(expected)


def test_labels_saved_holds_the_known_truth(tmp_path: Path) -> None:
    """Curves of one slope in probits, two slopes apart: the one needs four times the labels of the other."""
    pixels = Truth("pixels", "linear", -0.6, 0.2, seeded=False, layer="pixels", encoder="pixels")
    entrants = [pixels, Truth("mae", "linear", -0.2, 0.2, pretrain_seconds=60.0)]
    write_study(tmp_path, entrants=entrants, n_test=2000, reference=["pixels+linear"])
    found = line(leaderboard(tmp_path), "mae + linear")
    assert found["saved_low"] < 4.0 < found["saved_high"]
    assert found["saved"] == pytest.approx(4.0, rel=0.35)
    assert found["saved_censored"] == ""


def test_failed_entrants_stay_visible_out_of_ranks(board: Board) -> None:
    collapsed = board.frame.row(-1, named=True)
    assert collapsed["entrant"] == "swav + linear"
    assert collapsed["tags"] == ["collapsed"]
    assert (collapsed["place"], collapsed["score"], collapsed["saved"]) == (None, None, None)
    assert "not finite" in collapsed["reason"]


def test_a_diverged_seed_leaves_the_others(board: Board) -> None:
    dino = line(board.frame, "dino + linear")
    assert dino["tags"] == ["diverged 1 of 5 seeds"]
    assert (dino["seeds"], dino["score_mark"]) == (4, "few seeds")


def test_costs_are_paid_once_a_pretraining(board: Board) -> None:
    simclr = line(board.frame, "simclr + linear")
    assert simclr["pretrain_seconds"] == 2460.0
    assert simclr["pretrain_seconds_total"] == 5 * 2460.0
    assert simclr["search_seconds"] == 7380.0
    assert simclr["gpu_hours"] == pytest.approx(5 * 2460.0 / 3600.0)


def test_at_one_budget_scores_are_the_curve(root: Path, board: Board) -> None:
    at_ten = leaderboard(root, budget="10")
    points = {point["label_budget"]: point for point in line(board.frame, "simclr + linear")["budgets"]}
    assert line(at_ten, "simclr + linear")["score"] == pytest.approx(points["10"]["score"])
    absent = line(at_ten, "simclr + finetune")
    assert (absent["score"], absent["place"], absent["tags"]) == (None, None, [])


def test_the_reference_may_be_replaced(root: Path, board: Board) -> None:
    other = leaderboard(root, reference=["random_init+linear"])
    assert other.filter("is_reference")["entrant"].to_list() == ["random_init + linear"]
    assert line(other, "simclr + linear")["saved"] > line(board.frame, "simclr + linear")["saved"]


def test_without_reference_rows_labels_saved_says_why(tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[3:4], seeds=2, draws=2)
    found = leaderboard(tmp_path).row(0, named=True)
    assert found["saved"] is None
    assert found["saved_reason"] == "no reference entrant has rows yet"
    assert saved_table(open_results(tmp_path)).is_empty()


def test_a_study_of_failures_has_a_board(tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[-1:], seeds=2, draws=2)
    board = make_board(open_results(tmp_path))
    assert board.frame.columns == list(COLUMNS)
    assert board.ranked.is_empty()
    assert board.curves.is_empty()


def test_stale_rows_are_tagged(root: Path) -> None:
    newer = leaderboard(root, code=Code(versions={**VERSIONS, "data": 99}))
    assert "older version" in line(newer, "pixels + linear")["tags"]
    edited = leaderboard(root, code=Code(versions=VERSIONS, sources=frozenset({"another"})))
    assert line(edited, "pixels + linear")["tags"] == ["code edited since"]
    same = leaderboard(root, code=Code(versions=VERSIONS, sources=frozenset({SOURCE})))
    assert line(same, "pixels + linear")["tags"] == []


def test_missing_rows_make_an_entrant_partial(tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:4], seeds=2, draws=2, missing=3)
    board = make_board(open_results(tmp_path))
    tags = {row["entrant"]: row["tags"] for row in board.frame.iter_rows(named=True)}
    assert tags == {
        "simclr + linear": ["partial"],
        "pixels + linear": [],
        "random_init + finetune": [],
        "random_init + linear": [],
    }
    assert board.present == board.promised - 3


def test_other_metrics_have_no_test_term(root: Path) -> None:
    marks = set(leaderboard(root, metric="macro_f1")["score_mark"].drop_nulls())
    assert all("this test set only" in mark for mark in marks)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"metric": "miou"}, r"--metric: unknown metric 'miou'; valid: accuracy, balanced_accuracy, macro_f1"),
        ({"budget": "3"}, r"--budget: no rows at label budget '3'; valid: 1, 2, 5, 10, 50, all"),
        ({"study": "no"}, r"--study: unknown study 'no'"),
        ({"reference": ["nothing+linear"]}, r"reference: unknown entrant 'nothing\+linear'"),
    ],
)
def test_wrong_choices_name_the_right_ones(root: Path, choice: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        leaderboard(root, **choice)  # type: ignore[arg-type]


def test_curves_have_every_budget_in_order(root: Path) -> None:
    table = curves_table(root).filter(pl.col("entrant") == "simclr + linear")
    assert table["label_budget"].to_list() == ["1", "2", "5", "10", "50", "all"]
    assert (table["low"] <= table["score"]).all()
    assert (table["score"] <= table["high"]).all()


def test_importing_the_leaderboard_stays_light() -> None:
    heavy = ("torch", "ray", "plotly", "streamlit", "timm", "sklearn")
    program = f"import sys, bench.results.render; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
