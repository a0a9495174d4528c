from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from bench.errors import UserError
from bench.results.compare import Comparison, compare_bundles
from bench.results.compare_table import balance, comparison_table
from bench.results.export import export
from bench.results.lineage import changes, flattened, reasons
from bench.store.fragments import Fragments
from bench.store.schema import ROWS
from tests.results.synthetic import ENTRANTS, Truth, write_study

FEW = (ENTRANTS[0], ENTRANTS[3], ENTRANTS[5], ENTRANTS[6])


def bundle(folder: Path, entrants: Sequence[Truth] = FEW, *, changed: dict[str, object] | None = None) -> Path:
    """A bundle of a synthetic study; `changed` columns tell of rows that came about another way."""
    write_study(folder / "results", entrants=entrants, seeds=3, draws=3)
    if changed:
        fragments = Fragments(folder / "results", "rows")
        rows = fragments.scan().collect()
        (folder / "results" / "rows" / fragments.files()[0].name).unlink()
        fragments.write(
            rows.with_columns(pl.lit(value).cast(ROWS[name]).alias(name) for name, value in changed.items())
        )
    export(folder / "results", folder / "bundle", "bundle")
    return folder / "bundle"


def verdicts(comparison: Comparison) -> dict[str, str]:
    return dict(comparison.frame.select("entrant", "verdict").iter_rows())


def printed(comparison: Comparison, width: int = 100) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(comparison_table(comparison))
    return console.export_text()


def test_a_bundle_is_the_same_as_itself(tmp_path: Path) -> None:
    first = bundle(tmp_path)
    found = compare_bundles(first, first)
    assert set(verdicts(found).values()) == {"same rows"}
    assert balance(found) == "4 entrants: 4 same rows."
    assert printed(found).strip() == balance(found)


def test_a_real_change_is_found_and_chance_is_not(tmp_path: Path) -> None:
    before = bundle(tmp_path / "a")
    better = replace(FEW[1], level=FEW[1].level + 0.5)
    other = bundle(tmp_path / "b", [FEW[0], better, FEW[2], ENTRANTS[2]], changed={"numerical_versions": '{"mae":2}'})
    found = compare_bundles(before, other)
    assert verdicts(found) == {
        "pixels + linear": "same rows",
        "simclr + linear": "better",
        "mae[mask_ratio=0.5] + linear": "same rows",
        "mae[mask_ratio=0.75] + linear": "only in A",
        "random_init + linear": "only in B",
    }
    line = found.frame.row(by_predicate=pl.col("entrant") == "simclr + linear", named=True)
    assert line["low"] < line["change"] < line["high"]
    assert line["change"] == pytest.approx(line["after"] - line["before"])
    assert "version of mae (none) -> 2" in found.common


def test_rows_that_do_not_repeat_are_called_out(tmp_path: Path) -> None:
    before = bundle(tmp_path / "a")
    after = bundle(tmp_path / "b", [replace(FEW[0], level=0.3), *FEW[1:]])
    found = compare_bundles(before, after)
    line = found.frame.row(by_predicate=pl.col("entrant") == "pixels + linear", named=True)
    assert line["verdict"] == "better"
    assert [*line["reasons"], *found.common] == ["the same row keys: the numbers do not repeat"]
    assert verdicts(found)["simclr + linear"] == "same rows"
    assert "the numbers do not repeat" in printed(found, 80)


def test_other_splits_are_compared_as_independent(tmp_path: Path) -> None:
    before = bundle(tmp_path / "a")
    write_study(tmp_path / "b", entrants=FEW, seeds=3, draws=3, n_test=500)
    export(tmp_path / "b", tmp_path / "other", "bundle")
    found = compare_bundles(before, tmp_path / "other")
    assert "another split" in found.common
    assert found.frame["low"].null_count() == 0
    assert "better" not in verdicts(found).values()


def test_mistakes_are_clear(tmp_path: Path) -> None:
    first = bundle(tmp_path)
    with pytest.raises(UserError, match="not a bundle"):
        compare_bundles(first, tmp_path / "results")
    with pytest.raises(UserError, match="--metric: unknown metric 'miou'; valid: accuracy, balanced_accuracy"):
        compare_bundles(first, first, metric="miou")


def test_reasons_name_what_differs() -> None:
    assert flattened({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": [1, 2], "d": None}
    assert changes({"a": 1, "b": 2}, {"b": 3, "c": "x"}, "option") == [
        "option a 1 -> (none)",
        "option b 2 -> 3",
        "option c (none) -> x",
    ]
    row = dict.fromkeys(ROWS) | {"packages": '{"torch":"2.14"}', "seed": 0, "options": '{"lr":0.1}'}
    before = pl.DataFrame([row], schema=ROWS)
    after = pl.DataFrame([row | {"packages": '{"torch":"2.15"}'}, row | {"seed": 1, "source_hash": "x"}], schema=ROWS)
    assert reasons(before, before) == []
    assert reasons(before, after) == ["code edited", "package torch 2.14 -> 2.14, 2.15", "seeds 1 -> 2"]
