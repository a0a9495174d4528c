"""What the dashboard keeps while studies write: pages of other studies, and a large store for some time."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from bench.store.fragments import Fragments
from dashboards import loading, looks
from tests.results.synthetic import ENTRANTS, write_study


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_study(tmp_path, entrants=ENTRANTS[:3], seeds=2, draws=2)
    return tmp_path


def foreign_row(root: Path) -> None:
    """A row of no study that is looked at."""
    row = Fragments(root, "rows").scan().collect().head(1).with_columns(row_key=pl.lit("0" * 32))
    Fragments(root, "rows").write(row)


def test_rows_of_another_study_change_no_page_of_this_one(results: Path) -> None:
    stamp, content = looks.stamp(results), loading.content_of(results, None)
    board = loading.load_board(results, None, None, None)
    foreign_row(results)
    assert looks.stamp(results) != stamp
    assert loading.content_of(results, None) == content
    assert loading.load_board(results, None, None, None) is board


def test_rows_of_this_study_do(results: Path) -> None:
    content = loading.content_of(results, None)
    rows = Fragments(results, "rows").scan().collect()
    for path in (results / "rows").iterdir():
        path.unlink()
    Fragments(results, "rows").write(rows.head(rows.height - 5))
    assert loading.content_of(results, None) != content


def test_what_took_long_to_read_is_not_looked_at_again_at_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_LONG_SECONDS", 2.0)
    now = [100.0]
    monkeypatch.setattr("dashboards.looks.time.monotonic", lambda: now[0])

    def slowly(*asked: object) -> str:
        now[0] += 4.0
        return "opened"

    monkeypatch.setattr("dashboards.loading.open_results", slowly)
    loading.load_results(results, None)
    before = looks.looked(results)
    foreign_row(results)
    now[0] = 100.0 + 5 * 4.0 - 0.1
    assert looks.looked(results) == before
    now[0] += 0.2
    assert looks.looked(results) == looks.stamp(results) != before


def test_what_pages_cost_together_counts_up_to_a_minute(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_LONG_SECONDS", 2.0)
    now = [100.0]
    monkeypatch.setattr("dashboards.looks.time.monotonic", lambda: now[0])
    before = looks.looked(results)
    foreign_row(results)
    looks.note(results, 1.5)  # little: looked at with every page
    now[0] += 0.1
    seen = looks.looked(results)
    assert seen == looks.stamp(results) != before
    for _ in range(100):
        looks.note(results, 1.5)
    for path in list((results / "rows").iterdir())[:1]:
        path.unlink()
    now[0] += 59.9
    assert looks.looked(results) == seen
    now[0] += 0.2
    assert looks.looked(results) == looks.stamp(results) != seen
