from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.store.fragments import Fragments
from bench.store.schema import ROW_COLUMNS, ROWS, SCHEMA_VERSION, TRIALS
from bench.store.trials import read_trials, write_trial

START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(keys: Sequence[str], status: str = "ok", minute: int = 0, accuracy: float = 0.5) -> pl.DataFrame:
    record = dict.fromkeys(ROWS) | {
        "status": status,
        "accuracy": accuracy,
        "finished": START + timedelta(minutes=minute),
    }
    return pl.DataFrame([record | {"row_key": key} for key in keys], schema=ROWS)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    fragments = Fragments(tmp_path, "rows")
    fragments.write(rows(["a", "b"]))
    fragments.write(rows(["c"]))
    read = fragments.scan().collect()
    assert sorted(read["row_key"]) == ["a", "b", "c"]
    assert read.schema == ROWS
    assert set(read["schema_version"]) == {SCHEMA_VERSION}


def test_an_empty_table_has_the_schema(tmp_path: Path) -> None:
    fragments = Fragments(tmp_path, "rows")
    assert fragments.scan().collect().schema == ROWS
    assert fragments.keys() == set()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True), min_size=1, max_size=8))
def test_no_key_is_read_twice(tmp_path_factory: pytest.TempPathFactory, batches: list[list[str]]) -> None:
    fragments = Fragments(tmp_path_factory.mktemp("store"), "rows")
    for minute, batch in enumerate(batches):
        fragments.write(rows(batch, minute=minute))
    keys = fragments.scan().collect()["row_key"].to_list()
    assert sorted(keys) == sorted({key for batch in batches for key in batch})
    fragments.compact()
    assert sorted(fragments.scan().collect()["row_key"]) == sorted(keys)
    assert len(fragments.files()) == 1


@pytest.mark.parametrize("compacted", [False, True])
def test_some_keys_are_read_as_all_of_them_would_be(tmp_path: Path, compacted: bool) -> None:
    fragments = Fragments(tmp_path, "rows")
    for minute, keys in enumerate(["abc", "bcd", "ef", "gh"]):
        fragments.write(rows(keys, minute=minute, accuracy=0.1 * minute))
    fragments.write(rows("e", status="failed", minute=0))
    if compacted:
        fragments.compact()
    every = fragments.scan().collect()
    for wanted in ("", "a", "be", "hgc", "xyz", "abcdefgh"):
        expected = every.filter(pl.col("row_key").is_in(list(wanted)))
        assert fragments.scan(set(wanted)).collect().sort("row_key").equals(expected.sort("row_key"))


def test_rows_without_a_time_are_found_by_key(tmp_path: Path) -> None:
    fragments = Fragments(tmp_path, "rows")
    fragments.write(rows("ab"))
    fragments.write(rows("cd").with_columns(finished=pl.lit(None, dtype=ROWS["finished"])))
    assert fragments.scan(["b", "d"]).collect()["row_key"].sort().to_list() == ["b", "d"]


def test_writing_the_same_rows_again_replaces_their_file(tmp_path: Path) -> None:
    fragments = Fragments(tmp_path, "rows")
    fragments.write(rows(["a", "b"], minute=0))
    second = fragments.write(rows(["b", "a"], minute=1))
    assert fragments.files() == [second] == list(fragments.folder.iterdir())
    assert fragments.write(rows(["b", "a"], minute=1)) == second


def test_a_success_stands_before_a_failure_whatever_the_order(tmp_path: Path) -> None:
    fragments = Fragments(tmp_path, "rows")
    fragments.write(rows(["a"], status="ok", minute=0))
    fragments.write(rows(["a"], status="failed", minute=1))
    fragments.write(rows(["b"], status="failed", minute=2))
    read = dict(fragments.scan().select("row_key", "status").collect().iter_rows())
    assert read == {"a": "ok", "b": "failed"}
    assert fragments.keys() == {"a"}
    assert fragments.keys(settled=False) == {"a", "b"}


def test_damaged_files_are_left_out_and_named(tmp_path: Path) -> None:
    fragments = Fragments(tmp_path, "rows")
    whole = fragments.write(rows(["a", "b"]))
    truncated = whole.with_name("truncated.parquet")
    truncated.write_bytes(whole.read_bytes()[:-20])
    (fragments.folder / "empty.parquet").touch()
    (fragments.folder / ".hidden.parquet.part").write_bytes(b"x")
    assert sorted(fragments.scan().collect()["row_key"]) == ["a", "b"]
    assert fragments.damaged() == [fragments.folder / "empty.parquet", truncated]


def test_older_and_newer_columns(tmp_path: Path) -> None:
    fragments = Fragments(tmp_path, "rows")
    fragments.write(rows(["a"]))
    old = rows(["b"]).drop("ece")
    old.write_parquet(fragments.folder / "old.parquet")
    rows(["c"]).with_columns(invented=pl.lit(1)).write_parquet(fragments.folder / "new.parquet")
    read = fragments.scan().collect()
    assert sorted(read["row_key"]) == ["a", "b", "c"]
    assert read.schema == ROWS


def test_a_newer_schema_is_refused_in_words(tmp_path: Path) -> None:
    fragments = Fragments(tmp_path, "rows")
    path = fragments.write(rows(["a"]))
    newer = pl.read_parquet(path).with_columns(schema_version=pl.lit(SCHEMA_VERSION + 1, dtype=pl.Int64))
    newer.write_parquet(path.with_name("newer.parquet"))
    with pytest.raises(UserError, match=f"schema {SCHEMA_VERSION + 1}"):
        fragments.check_readable()


def test_wrong_columns_are_refused(tmp_path: Path) -> None:
    fragments = Fragments(tmp_path, "rows")
    with pytest.raises(ValueError, match="missing columns"):
        fragments.write(rows(["a"]).drop("seed"))
    with pytest.raises(ValueError, match="wrong type"):
        fragments.write(rows(["a"]).with_columns(seed=pl.lit("zero")))
    assert fragments.files() == []


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", broken)
    fragments = Fragments(tmp_path, "rows")
    with pytest.raises(OSError, match="No space"):
        fragments.write(rows(["a"]))
    assert list(fragments.folder.iterdir()) == []


def test_every_column_says_what_it_means() -> None:
    assert all(len(column.meaning) > 5 for column in ROW_COLUMNS)
    assert len({column.name for column in ROW_COLUMNS}) == len(ROW_COLUMNS)


def test_trials_come_back_in_order_without_failures(tmp_path: Path) -> None:
    shared = {"method": "mae", "setting": {"mask_ratio": 0.5}, "objective": "linear.accuracy@1", "seconds": 1.0}
    write_trial(tmp_path, search_key="s", number=1, parameters={"lr": 0.2}, state="complete", value=0.8, **shared)
    write_trial(tmp_path, search_key="s", number=0, parameters={"lr": 0.1}, state="diverged", value=None, **shared)
    write_trial(tmp_path, search_key="t", number=0, parameters={"lr": 0.1}, state="failed", value=None, **shared)
    read = read_trials(tmp_path)
    assert list(read) == ["s"]
    assert [(record["number"], record["state"], record["parameters"]) for record in read["s"]] == [
        (0, "diverged", {"lr": 0.1}),
        (1, "complete", {"lr": 0.2}),
    ]
    assert Fragments(tmp_path, "trials").scan().collect().schema == TRIALS


def test_others_may_read_what_the_umask_allows(tmp_path: Path) -> None:
    path = Fragments(tmp_path, "rows").write(rows(["a"]))
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert path.stat().st_mode == ordinary.stat().st_mode


@pytest.mark.parametrize("moment", ["listed", "looked at"])
def test_a_reader_finds_every_row_while_fragments_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    for minute, key in enumerate("abc"):
        Fragments(tmp_path, "rows").write(rows([key], minute=minute))
    fragments, left = Fragments(tmp_path, "rows"), [1]
    name = "_merge" if moment == "listed" else "_candidates"
    usual = getattr(Fragments, name)

    def merged_meanwhile(self: Fragments, *arguments: object) -> object:
        found = usual(self, *arguments)
        if left and self is fragments:
            left.clear()
            Fragments(tmp_path, "rows").compact()
        return found

    monkeypatch.setattr(Fragments, name, merged_meanwhile)
    assert sorted(fragments.read(lambda frame: frame)["row_key"]) == ["a", "b", "c"]
    assert not left
    assert fragments.keys() == {"a", "b", "c"}


def test_a_fragment_that_was_merged_away_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in "ab":
        Fragments(tmp_path, "rows").write(rows([key]))
    fragments = Fragments(tmp_path, "rows")
    before = fragments.files()
    Fragments(tmp_path, "rows").compact()
    monkeypatch.setattr(Fragments, "_candidates", lambda self: before)
    assert fragments.damaged() == []
    assert fragments.quarantine() == []
