"""Rows of segmentation and of episodes: measured in mean IoU or in the exact ratio, and in nothing that has bitmaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from bench.errors import UserError
from bench.results.leaderboard import leaderboard, make_board, measured_metrics
from bench.results.opening import Opened, open_results
from bench.results.render import board_notes
from bench.store.fragments import Fragments
from tests.results.synthetic import ENTRANTS, write_study

CLASSIFIED = ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece", "correct", "class_counts", "class_correct")


def measured_in(root: Path, metrics: Sequence[str], entrant: str | None = None) -> Path:
    """Rewrites the rows: their accuracy becomes these metrics, and what belongs to classification goes."""
    for path in list((root / "rows").glob("*.parquet")):
        rows = pl.read_parquet(path)
        path.unlink()  # its name says what was in it
        chosen = pl.lit(True) if entrant is None else pl.col("method") == entrant
        gone = [pl.when(~chosen).then(pl.col(name)).alias(name) for name in CLASSIFIED if name not in metrics]
        new = [pl.when(chosen).then(pl.col("accuracy")).alias(name) for name in metrics]
        rows.with_columns(*new, *gone).write_parquet(path.with_name(f"{path.name.partition('.')[0]}.parquet"))
    return root


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_study(tmp_path, entrants=[*ENTRANTS[:2], *ENTRANTS[3:6]], seeds=5, draws=5)
    return tmp_path


@pytest.mark.parametrize(
    ("metrics", "default"),
    [
        (["miou"], "miou"),
        (["boundary_f1", "miou", "pixel_accuracy"], "miou"),
        (["exact_ratio"], "exact_ratio"),
        (["accuracy", "exact_ratio"], "exact_ratio"),
        (["boundary_f1"], "boundary_f1"),
    ],
)
def test_a_board_is_ranked_by_what_was_measured(store: Path, metrics: list[str], default: str) -> None:
    before = leaderboard(store, metric="accuracy")
    accuracy = Fragments(store, "rows").scan().select("row_key", "accuracy").collect()
    board = make_board(open_results(measured_in(store, metrics)))
    assert board.metric == default
    ranked = board.ranked
    assert ranked["entrant"].to_list() == before["entrant"].to_list()
    assert ranked["score"].to_list() == pytest.approx(before["score"].to_list())
    assert ranked["saved"].null_count() == before["saved"].null_count()
    assert all("this test set only" in mark for mark in ranked["score_mark"])
    assert any("the interval holds for this test set" in note for note in board_notes(board))
    rows = Fragments(store, "rows").scan().select("row_key", default).collect().join(accuracy, on="row_key")
    assert rows[default].equals(rows["accuracy"], null_equal=True)


def test_an_interval_without_items_is_no_wider_than_one_with_them(store: Path) -> None:
    with_items = leaderboard(store, metric="accuracy")
    measured_in(store, ["miou"])
    without = leaderboard(store, metric="miou")
    widths = [(frame["score_high"] - frame["score_low"]).mean() for frame in (without, with_items)]
    assert widths[0] < widths[1]


def test_a_mixed_store_says_what_it_leaves_out(store: Path) -> None:
    opened = open_results(measured_in(store, ["miou"], "simclr"))
    assert measured_metrics(opened)[:2] == ["balanced_accuracy", "miou"]
    board = make_board(opened)
    assert (board.metric, set(board.frame["method"])) == ("balanced_accuracy", {"pixels", "random_init", "mae"})
    assert "2 entrants are measured in mean IoU alone, and not shown" in board_notes(board)
    other = make_board(opened, metric="miou")
    assert set(other.frame["method"]) == {"simclr"}
    assert "3 entrants are measured in balanced accuracy alone, and not shown" in board_notes(other)


def test_nothing_is_left_out_of_a_plain_store(opened: Opened) -> None:
    assert make_board(opened).elsewhere == ""
    with pytest.raises(
        UserError, match="--metric: unknown metric 'miou'; valid: accuracy, balanced_accuracy, macro_f1"
    ):
        make_board(replace(opened), metric="miou")
