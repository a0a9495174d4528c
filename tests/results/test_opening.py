from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.results.opening import METRICS, NEEDED, find_study, open_results, studies
from bench.store.schema import ROWS
from tests.results.synthetic import ENTRANTS, START, write_study

FEW = ENTRANTS[:2]


def test_every_column_asked_for_is_in_the_schema() -> None:
    assert set(NEEDED) <= set(ROWS)
    assert set(METRICS) <= set(ROWS)


def test_opened_results_are_ready_for_statistics(root: Path) -> None:
    opened = open_results(root)
    assert opened.items["item"].to_list() == list(range(400))
    assert opened.reference == ("random_init + finetune", "pixels + linear")
    assert opened.promised == opened.rows.height == opened.rows["row_key"].n_unique()
    assert set(opened.scored("balanced_accuracy")["status"]) == {"ok"}


def test_a_missing_root_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        open_results(tmp_path / "nowhere")


def test_an_empty_root_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no results here yet"):
        open_results(tmp_path)


def test_a_study_without_rows_yet_is_a_clear_error(tmp_path: Path) -> None:
    write_study(tmp_path, entrants=FEW)
    for path in (tmp_path / "rows").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"'mae-mask-ratio' .*: none of its \d+ rows is finished yet"):
        open_results(tmp_path)


def test_the_newest_study_is_the_default_and_each_has_its_own_rows(tmp_path: Path) -> None:
    old = write_study(tmp_path, name="old", entrants=FEW, n_test=100)
    new = write_study(tmp_path, name="new", entrants=FEW[:1], n_test=120, created=START + timedelta(hours=1))
    assert [study.key for study in studies(tmp_path)] == [new, old]
    assert set(open_results(tmp_path).rows["n_test"]) == {120}
    assert set(open_results(tmp_path, "old").rows["n_test"]) == {100}
    assert set(open_results(tmp_path, old[:8]).rows["n_test"]) == {100}


def test_an_unknown_study_names_the_known_ones(tmp_path: Path) -> None:
    write_study(tmp_path, name="first", entrants=FEW)
    with pytest.raises(UserError, match=r"--study: unknown study 'frist' \(did you mean 'first'\?\)"):
        find_study(tmp_path, "frist")


def test_half_written_files_are_left_out(tmp_path: Path) -> None:
    key = write_study(tmp_path, entrants=FEW)
    (tmp_path / "studies" / "half.json").write_text('{"study_key": "abc", "stu')
    (tmp_path / "studies" / "list.json").write_text("[1, 2]")
    (tmp_path / "rows" / "truncated.parquet").write_bytes(b"PAR1\x00\x00")
    assert [study.key for study in studies(tmp_path)] == [key]
    assert open_results(tmp_path).rows.height > 0


def test_a_damaged_split_table_is_a_clear_error_and_a_damaged_fragment_is_not_read(tmp_path: Path) -> None:
    write_study(tmp_path, entrants=FEW)
    split = next((tmp_path / "splits").iterdir())
    whole = split.read_bytes()
    split.write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(UserError, match="split table cannot be read"):
        open_results(tmp_path)
    split.write_bytes(whole)
    height = open_results(tmp_path).rows.height
    (tmp_path / "rows" / "damaged.parquet").write_bytes(b"PAR1 not really PAR1")
    assert open_results(tmp_path).rows.height == height


def test_rows_without_a_manifest_are_read_on_the_last_split(tmp_path: Path) -> None:
    write_study(tmp_path, entrants=FEW)
    for path in (tmp_path / "studies").iterdir():
        path.unlink()
    opened = open_results(tmp_path)
    assert opened.study is None
    assert opened.rows["split_digest"].n_unique() == 1
    assert opened.reference == ("random_init + finetune", "pixels + linear")


def test_without_a_split_table_there_are_no_test_items(tmp_path: Path) -> None:
    write_study(tmp_path, entrants=FEW)
    next((tmp_path / "splits").iterdir()).unlink()
    assert open_results(tmp_path).test_items is None
