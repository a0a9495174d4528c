from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from bench.results.opening import open_results
from bench.results.recall import class_recall
from bench.stats.label_efficiency import labels_saved_at
from bench.store.fragments import Fragments
from tests.dashboards.conftest import Run
from tests.dashboards.test_pages import bare, figures, title
from tests.results.synthetic import CLASSES, ENTRANTS, write_study

REFERENCE = ("random_init + finetune", "pixels + linear")


def test_the_target_is_drawn_and_read_off(run: Run, root: Path) -> None:
    app = run("views/curves.py", root, target="0.75", entrants=["simclr + linear", "pixels + linear"])
    assert title(app)
    curves = figures(app)[0]
    assert [shape["y0"] for shape in curves["layout"]["shapes"]] == [0.75]
    assert "target 0.75" in [note["text"] for note in curves["layout"]["annotations"]]
    assert "Labels saved at balanced accuracy 0.75" in [bare(element.value) for element in app.subheader]
    table = app.dataframe[0].value.set_index("Entrant")
    assert list(table.index) == ["simclr + linear", "pixels + linear (reference)"]
    opened = open_results(root)
    asked = {"target": 0.75, "reference": REFERENCE, "metric": "balanced_accuracy"}
    found = labels_saved_at(opened.scored("balanced_accuracy"), opened.test_items, **asked)
    row = found.row(by_predicate=pl.col("entrant") == "simclr + linear", named=True)
    text = table.loc["simclr + linear", "Labels saved"]
    assert text.startswith(f"{row['factor']:.1f}× ({row['low']:.1f} to {row['high']:.1f})")
    assert " to " in table.loc["simclr + linear", "Labels needed"]


def test_the_slider_moves_the_line(run: Run, root: Path) -> None:
    app = run("views/curves.py", root)
    first = app.slider(key="target").value
    app.slider(key="target").set_value(round(first - 0.1, 2)).run()
    assert figures(app)[0]["layout"]["shapes"][0]["y0"] == pytest.approx(first - 0.1)


@pytest.mark.parametrize("target", ["7", "-1", "<b>"])
def test_a_stale_target_falls_back(run: Run, root: Path, target: str) -> None:
    assert title(run("views/curves.py", root, target=target)).startswith("simclr + linear needs ")


def test_without_a_reference_the_labels_needed_stay(run: Run, tmp_path: Path) -> None:
    write_study(tmp_path, entrants=ENTRANTS[3:5], seeds=2, draws=2)
    app = run("views/curves.py", tmp_path)
    assert title(app)
    table = app.dataframe[0].value
    assert set(table["Labels saved"]) == {"no reference entrant has rows yet"}
    assert table["Labels needed"].str.len().min() > 0


def test_recall_is_the_mean_over_seeds_and_draws(root: Path) -> None:
    recall = class_recall(root, open_results(root), "10").filter(pl.col("entrant") == "simclr + linear")
    rows = (
        Fragments(root, "rows")
        .scan()
        .filter(pl.col("method") == "simclr", pl.col("protocol") == "linear", pl.col("label_budget") == "10")
    )
    pairs = rows.select("class_correct", "class_counts").collect().rows()
    expected = [sum(right[place] / all_[place] for right, all_ in pairs) / len(pairs) for place in range(CLASSES)]
    assert recall["recall"].to_list() == pytest.approx(expected)
    assert recall["name"].to_list() == [f"class {place}" for place in range(CLASSES)]
    assert set(recall["pool"]) == {1000}


def test_recall_by_class_shows_the_chosen_entrants_hardest_class_first(run: Run, root: Path) -> None:
    app = run("views/curves.py", root, budget="5", entrants=["simclr + linear", "dino + linear"])
    assert title(app)
    figure = figures(app)[-1]
    assert [trace["name"] for trace in figure["data"]] == ["simclr + linear", "dino + linear"]
    notes = [note["text"] for note in figure["layout"]["annotations"]]
    assert len(notes) == CLASSES
    assert notes[0].endswith("1,000 in the train pool, 40 test images")
    table = app.dataframe[-1].value
    means = table[["simclr + linear", "dino + linear"]].mean(axis=1)
    assert means.is_monotonic_increasing


def test_an_entrant_without_the_budget_is_named(run: Run, root: Path) -> None:
    app = run("views/curves.py", root, budget="2", entrants=["simclr + linear", "simclr + finetune"])
    assert title(app)
    assert "Not measured at this budget: simclr + finetune." in bare(app.caption[-1].value)
    app = run("views/curves.py", root, budget="2", entrants="simclr + finetune")
    assert app.caption[-1].value == "None of these entrants has counts by class at this budget."


@pytest.mark.parametrize("counts", [None, [], [3]])
def test_rows_that_counted_no_classes_are_no_accident(run: Run, tmp_path: Path, counts: list[int] | None) -> None:
    write_study(tmp_path, entrants=ENTRANTS[:4], seeds=1, draws=2)
    for path in list((tmp_path / "rows").glob("*.parquet")):
        rows = pl.read_parquet(path)
        path.unlink()  # its name says what was in it
        path = path.with_name(f"{path.name.partition('.')[0]}.parquet")
        rows.with_columns(pl.lit(counts, dtype=pl.List(pl.Int64)).alias("class_correct")).write_parquet(path)
    app = run("views/curves.py", tmp_path)
    assert title(app)
    assert app.caption[-1].value == "None of these entrants has counts by class at this budget."


def test_classes_without_names_are_numbered(run: Run, tmp_path: Path) -> None:
    key = write_study(tmp_path, entrants=ENTRANTS[:4], seeds=1, draws=2)
    path = tmp_path / "studies" / f"{key}.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"data": {"class_names": ["<i>shoe</i>"]}}))
    app = run("views/curves.py", tmp_path)
    assert title(app)
    assert set(app.dataframe[-1].value["Class"]) == {"<i>shoe</i>", *(f"class {place}" for place in range(1, CLASSES))}
    assert "<i>" not in json.dumps(figures(app)[-1]["layout"]["annotations"])
