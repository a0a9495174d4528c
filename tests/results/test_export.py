from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import polars as pl
import pytest

from bench.errors import UserError
from bench.results.digests import file_digest
from bench.results.export import FORMATS, export
from bench.results.latex import escaped, latex_table
from bench.results.leaderboard import Board, leaderboard
from bench.results.opening import Opened
from bench.results.schema_page import PAGE
from bench.results.tables import flat, neutral
from bench.results.verify import verified, verify
from bench.store.files import read_json, write_json
from bench.store.schema import ROWS, TRIALS
from bench.store.trials import write_trial
from tests.results.synthetic import ENTRANTS, write_study


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("figures", "optuna")])
def test_every_format_writes_files(root: Path, tmp_path: Path, name: str) -> None:
    written = export(root, tmp_path / "new" / "folder", name)
    assert written
    assert all(path.is_file() and path.stat().st_size for path in written)
    assert {path.name for path in written} == {path.name for path in (tmp_path / "new" / "folder").iterdir()}


def test_parquet_holds_all_rows_and_the_leaderboard(root: Path, opened: Opened, tmp_path: Path) -> None:
    export(root, tmp_path)
    rows = pl.read_parquet(tmp_path / "rows.parquet")
    assert rows.schema == ROWS
    assert rows["row_key"].sort().equals(opened.rows["row_key"].sort())
    assert pl.read_parquet(tmp_path / "leaderboard.parquet").equals(leaderboard(root))


def test_csv_is_flat_and_has_every_budget(root: Path, board: Board, tmp_path: Path) -> None:
    export(root, tmp_path, "csv")
    with (tmp_path / "leaderboard.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["entrant"] for line in lines] == board.frame["entrant"].to_list()
    point = board.frame["budgets"][0][3]
    assert point["label_budget"] == "10"
    assert float(lines[0]["score@10"]) == pytest.approx(point["score"])
    assert lines[-1]["score@10"] == ""
    with (tmp_path / "rows.csv").open(newline="") as file:
        row = next(line for line in csv.DictReader(file) if line["status"] == "ok")
    assert sum(json.loads(row["class_counts"])) == int(row["n_test"])


def test_budgets_are_columns_in_order_of_labels(board: Board) -> None:
    names = [name for name in flat(board.frame).columns if name.startswith("score@")]
    assert names == ["score@1", "score@2", "score@5", "score@10", "score@50", "score@all"]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_neutralised(cell: str) -> None:
    frame = pl.DataFrame({"name": [cell, "mae = best", None], "value": [-1.5, 2.0, None]})
    assert neutral(frame)["name"].to_list() == [f"'{cell}", "mae = best", None]
    assert neutral(frame)["value"].to_list() == [-1.5, 2.0, None]


def test_wrong_format_and_unwritable_folder_are_clear_errors(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--format: unknown format 'cvs' \(did you mean 'csv'\?\)"):
        export(root, tmp_path, "cvs")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        export(root, tmp_path / "file")


def test_latex_escapes_names_and_shows_everyone(board: Board) -> None:
    text = latex_table(board)
    assert text.count(r"\\") == board.frame.height + 1
    assert r"mae[mask\_ratio=0.75] + linear" in text
    assert r"$\pm$" in text
    assert text.count(r"\textbf{") == 1
    assert r"& \textbf{" in next(line for line in text.splitlines() if line.strip().startswith("1 & simclr + linear"))
    assert escaped("a_b & 50 % >= #1 \\ {x}~^") == (
        r"a\_b \& 50 \% $\ge$ \#1 \textbackslash{} \{x\}\textasciitilde{}\textasciicircum{}"
    )


def test_latex_marks_what_may_be_as_good_as_the_best_and_tells_shared_tags_once(board: Board) -> None:
    tied = pl.when(pl.col("place") == 2).then(1).otherwise("rank_low").alias("rank_low")
    everyone = pl.col("tags").list.concat(pl.lit(["older version"])).alias("tags")
    text = latex_table(replace(board, frame=board.frame.with_columns(tied, everyone)))
    second = next(line for line in text.splitlines() if line.strip().startswith("2 & "))
    assert second.count(r" $\dagger$ &") == 1
    assert text.count(r"\dagger") == 2
    assert text.count("older version") == 1


@pytest.fixture
def bundle(root: Path, tmp_path: Path) -> Path:
    export(root, tmp_path / "bundle", "bundle")
    return tmp_path / "bundle"


def test_a_fresh_bundle_verifies_and_tells_what_it_is(bundle: Path) -> None:
    assert verify(bundle) == []
    text = (bundle / "README.md").read_text()
    assert "fewer labels (95 %:" in text
    assert "@misc{pretextbench_" in text
    assert read_json(bundle / "environment.json")["version"] == ["0.1.0"]
    assert read_json(bundle / "study.json")["study"] == "mae-mask-ratio"


def resealed(bundle: Path, name: str) -> None:
    """Writes the digest of a changed file into the index, as somebody who cheats would."""
    index = read_json(bundle / "digests.json")
    index["files"][name] = file_digest(bundle / name)
    write_json(bundle / "digests.json", index)


def test_a_changed_file_is_named(bundle: Path) -> None:
    (bundle / "README.md").write_text("better than it was")
    (bundle / "study.json").unlink()
    assert {(found.file, found.where) for found in verify(bundle)} >= {
        ("README.md", "SHA-256"),
        ("study.json", "SHA-256"),
    }


def test_a_polished_aggregate_is_found(bundle: Path) -> None:
    board = pl.read_parquet(bundle / "leaderboard.parquet")
    better = board.with_columns(score=pl.when(pl.col("place") == 2).then(0.99).otherwise("score"))
    better.write_parquet(bundle / "leaderboard.parquet")
    resealed(bundle, "leaderboard.parquet")
    found = verify(bundle)
    assert [(item.file, item.where) for item in found] == [
        ("digests.json", "digest"),
        ("leaderboard.parquet", "score of mae[mask_ratio=0.75] + linear"),
    ]
    assert "stated 0.99, found 0.7" in str(found[1])


def test_a_polished_row_is_found(bundle: Path) -> None:
    rows = pl.read_parquet(bundle / "rows.parquet")
    key = rows.filter(pl.col("status") == "ok")["row_key"][0]
    rows.with_columns(
        balanced_accuracy=pl.when(pl.col("row_key") == key).then(1.0).otherwise("balanced_accuracy")
    ).write_parquet(bundle / "rows.parquet")
    resealed(bundle, "rows.parquet")
    assert [item.where for item in verify(bundle)] == ["digest", f"row_key {key}", f"balanced_accuracy of row {key}"]


def test_a_polished_row_of_any_column_is_named(bundle: Path) -> None:
    rows = pl.read_parquet(bundle / "rows.parquet")
    key = rows["row_key"][7]
    changed = rows.with_columns(ece=pl.when(pl.col("row_key") == key).then(0.0).otherwise("ece"))
    changed.filter(pl.col("row_key") != rows["row_key"][3]).write_parquet(bundle / "rows.parquet")
    same, lines = verified(bundle)
    assert not same
    assert any(f"row_key {key}: stated" in line for line in lines)
    assert any(f"row_key {rows['row_key'][3]}: stated" in line and line.endswith("found none") for line in lines)


def test_a_changed_key_of_the_study_is_named(bundle: Path) -> None:
    study = read_json(bundle / "study.json")
    study["spec"]["seeds"] = 50
    write_json(bundle / "study.json", study)
    assert ("study.json", "key spec") in {(item.file, item.where) for item in verify(bundle)}


def test_a_page_in_the_words_of_an_older_version_is_taken_by_its_digest(bundle: Path) -> None:
    index = read_json(bundle / "digests.json")
    index["bundle_version"] -= 1
    (bundle / "README.md").write_text("as it was put then")
    write_json(bundle / "digests.json", index)
    assert [(found.file, found.where) for found in verify(bundle)] == [("README.md", "SHA-256")]
    resealed(bundle, "README.md")
    same, lines = verified(bundle)
    assert same
    assert lines[-1].endswith("by its digest alone")


def test_a_dropped_entrant_is_found(bundle: Path) -> None:
    board = pl.read_parquet(bundle / "leaderboard.parquet")
    board.head(3).write_parquet(bundle / "leaderboard.parquet")
    resealed(bundle, "leaderboard.parquet")
    assert {item.found for item in verify(bundle) if item.file == "leaderboard.parquet"} == {"a line"}


def test_what_is_no_bundle_is_a_clear_error(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(UserError, match="not a bundle"):
        verify(tmp_path)
    (bundle / "rows.parquet").write_bytes(b"broken")
    (bundle / "splits.parquet").unlink()
    found = verify(bundle)
    assert {item.file for item in found} == {"rows.parquet", "splits.parquet", "leaderboard.parquet"}


def test_the_bundle_has_the_trials_and_the_digest_that_the_readme_cites(tmp_path: Path) -> None:
    key = write_study(tmp_path / "results", entrants=ENTRANTS[:4], seeds=2, draws=2)
    path = tmp_path / "results" / "studies" / f"{key}.json"
    write_json(path, read_json(path) | {"search_keys": ["s1"]})
    for search in ("s1", "s2"):
        trial = {"search_key": search, "number": 0, "method": "mae", "setting": {}, "parameters": {"lr": 0.1}}
        write_trial(tmp_path / "results", **trial, objective="x", state="complete", value=0.5, seconds=1.0)
    export(tmp_path / "results", tmp_path / "bundle", "bundle")
    trials = pl.read_parquet(tmp_path / "bundle" / "trials.parquet")
    assert trials.schema == TRIALS
    assert trials["search_key"].to_list() == ["s1"]
    digest = read_json(tmp_path / "bundle" / "digests.json")["digest"]
    assert (tmp_path / "bundle" / "README.md").read_text().count(digest) == 2
    assert verified(tmp_path / "bundle")[0]


def test_two_exports_of_one_study_have_one_digest(root: Path, bundle: Path, tmp_path: Path) -> None:
    export(root, tmp_path / "again", "bundle")
    assert read_json(tmp_path / "again" / "digests.json")["digest"] == read_json(bundle / "digests.json")["digest"]


def test_figures_open_without_a_network(root: Path, tmp_path: Path) -> None:
    written = export(root, tmp_path / "figures", "figures")
    assert {path.name for path in written} == {path.name for path in (tmp_path / "figures").iterdir()}
    assert {path.suffix for path in written} == {".html", ".js", ".svg", ".pdf", ".png"}
    for name in ("curves", "labels_saved", "leaderboard"):
        text = (tmp_path / "figures" / f"{name}.html").read_text()
        assert 'src="plotly.min.js"' in text
        assert '<script src="http' not in text
        assert "simclr + linear" in text


@pytest.mark.parametrize("library", ["polars", "pandas", "duckdb"])
def test_exported_parquet_reads_elsewhere(root: Path, tmp_path: Path, library: str) -> None:
    reader = import_module(library)
    export(root, tmp_path)
    path = tmp_path / "rows.parquet"
    expected = pl.read_parquet(path)
    if library == "duckdb":
        frame = reader.sql(f"SELECT * FROM '{path}'").pl()
    else:
        frame = reader.read_parquet(path)
    assert list(frame.columns) == list(ROWS)
    assert len(frame) == expected.height
    assert float(frame["accuracy"].sum()) == pytest.approx(expected["accuracy"].sum())
    assert bytes(frame["correct"][0] or b"") == (expected["correct"][0] or b"")
    assert (
        list(frame["class_counts"].dropna().iloc[0] if library == "pandas" else expected["class_counts"][0])
        == [40] * 10
    )


@pytest.mark.parametrize("library", ["polars", "pandas", "duckdb"])
def test_the_example_of_the_schema_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    write_study(tmp_path / "results", entrants=ENTRANTS[:2], seeds=1, draws=1)
    export(tmp_path / "results", tmp_path / "export")
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    *readers, bitmaps = example.split("\n\n")
    (reader,) = [part for part in readers if part.startswith(f"import {library}")]
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(f"{reader}\n{bitmaps}", names)
    first = pl.read_parquet("export/rows.parquet").row(0, named=True)
    assert names["right"].mean() == pytest.approx(first["accuracy"])
