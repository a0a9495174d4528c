from __future__ import annotations

import io
import zipfile
from pathlib import Path

import polars as pl
import pytest

from bench.results.leaderboard import Board, saved_table
from bench.results.opening import Opened
from bench.results.palette import styles
from bench.results.takeaway import board_file, bundle_file, figure_file, rows_file, selected
from bench.results.verify import verify
from bench.store.schema import ROWS

SOME = ["simclr + linear", "pixels + linear"]


def test_a_selection_changes_no_number(board: Board) -> None:
    part = selected(board, SOME)
    assert set(part.frame["entrant"]) == set(part.curves["entrant"]) == set(SOME)
    assert part.frame.equals(board.frame.filter(pl.col("entrant").is_in(SOME)))


def test_the_leaderboard_in_three_formats(board: Board) -> None:
    part = selected(board, SOME)
    assert pl.read_parquet(io.BytesIO(board_file(part, "parquet"))).equals(part.frame)
    assert pl.read_csv(board_file(part, "csv"))["score"].to_list() == pytest.approx(part.frame["score"].to_list())
    assert board_file(part, "latex").decode().count("\\\\\n") >= len(SOME)


def test_rows_have_every_column_and_no_other_entrant(root: Path, opened: Opened) -> None:
    rows = pl.read_parquet(io.BytesIO(rows_file(root, opened, SOME, "parquet")))
    assert rows.schema == ROWS
    assert rows.height == opened.rows.filter(pl.col("entrant").is_in(SOME)).height
    table = pl.read_csv(rows_file(root, opened, SOME, "csv"), infer_schema_length=None)
    assert table["row_key"].to_list() == rows["row_key"].to_list()
    assert "correct" not in table.columns


@pytest.mark.parametrize("which", ["curves", "saved", "leaderboard"])
@pytest.mark.parametrize("entrants", [SOME, []], ids=["some", "none"])
def test_figures_are_pages_of_their_own(board: Board, opened: Opened, which: str, entrants: list[str]) -> None:
    looks = styles(board.frame["entrant"].to_list(), board.reference)
    saved = saved_table(opened).filter(pl.col("entrant").is_in(entrants))
    page = figure_file(selected(board, entrants), saved, looks, which).decode()
    assert page.startswith("<!doctype html>")
    assert '<script src="http' not in page
    assert ("simclr + linear" in page) == bool(entrants)


def test_the_bundle_verifies_and_is_cited_by_its_digest(root: Path, tmp_path: Path) -> None:
    bundle = bundle_file(root, None)
    assert bundle_file(root, None).archive == bundle.archive
    zipfile.ZipFile(io.BytesIO(bundle.archive)).extractall(tmp_path)
    assert verify(tmp_path) == []
    assert bundle.citation.startswith("@misc{pretextbench_")
    digest = bundle.citation.partition("digest ")[2][:64]
    assert digest in (tmp_path / "digests.json").read_text()
