"""Whole studies on a local Ray cluster, run as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from bench.store.fragments import Fragments
from bench.store.trials import read_trials
from tests.engine.conftest import ROOT, TINY_ROWS, bench, command, environment

pytestmark = pytest.mark.ray

VALUES = ["row_key", "status", "accuracy", "balanced_accuracy", "nll", "correct", "selected", "n_labels"]


def values(root: Path) -> pl.DataFrame:
    return Fragments(root, "rows").scan().select(VALUES).sort("row_key").collect()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """The study file, the results folder and the output of one run without disturbance."""
    import yaml

    from tests.engine.conftest import TINY

    folder = tmp_path_factory.mktemp("undisturbed")
    study = folder / "tiny.yaml"
    study.write_text(yaml.safe_dump(TINY))
    done = bench(study, "--results", folder / "results")
    assert done.returncode == 0, done.stdout + done.stderr
    return study, folder / "results", done.stdout


def test_a_study_leaves_every_row_once(undisturbed: tuple[Path, Path, str]) -> None:
    _, results, output = undisturbed
    rows = Fragments(results, "rows").scan().collect()
    assert rows.height == TINY_ROWS == rows["row_key"].n_unique()
    assert set(rows["status"]) == {"ok"}
    shares = pl.col("accuracy", "balanced_accuracy", "macro_f1", "macro_auroc", "ece").is_between(0, 1).all()
    assert all(rows.select(shares).row(0))
    assert rows["nll"].is_finite().all()
    assert " CPUs" in output
    assert str(results / "rows") in output
    assert "simclr + linear" in output


def test_search_seeds_are_not_reported(undisturbed: tuple[Path, Path, str]) -> None:
    _, results, _ = undisturbed
    trials = read_trials(results)
    assert sorted(len(records) for records in trials.values()) == [2, 2, 2]
    rows = Fragments(results, "rows").scan().collect()
    tuned = rows.filter(pl.col("method").is_in(["mae", "simclr"]))
    assert set(tuned["seed"]) == {0, 1}
    assert (tuned["search_seconds"] > 0).all()
    chosen = tuned.group_by("method", "axes").agg(pl.col("options").str.json_path_match("$.lr").n_unique().alias("n"))
    assert set(chosen["n"]) == {1}


def test_running_again_schedules_nothing(undisturbed: tuple[Path, Path, str]) -> None:
    study, results, output = undisturbed
    before = values(results)
    again = bench(study, "--results", results)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert "CPUs" not in again.stdout  # Ray was not even started

    def board(text: str) -> list[str]:
        lines = text.splitlines()
        start = next(i for i, line in enumerate(lines) if "seeds" in line)
        return [line for line in lines[start:] if line.strip() and not line.strip().endswith(" s")]

    assert board(again.stdout) == board(output)
    assert_frame_equal(values(results), before)
    wrong = bench(study, "--results", results, "--log", "tensorbord")
    assert (wrong.returncode, "nothing to do" in wrong.stdout) == (2, False)
    assert "unknown logger" in wrong.stderr


def test_adding_a_budget_computes_that_budget_only(undisturbed: tuple[Path, Path, str], tmp_path: Path) -> None:
    study, results, _ = undisturbed
    before = values(results)
    files = {path.name for path in (results / "rows").iterdir()}
    more = bench(study, "--results", results, "--set", "evaluate.linear.label_budgets=[1,2,3]")
    assert more.returncode == 0, more.stdout + more.stderr
    new = [path for path in (results / "rows").iterdir() if path.name not in files]
    added = pl.concat([pl.read_parquet(path) for path in new])
    assert set(added["label_budget"]) == {"3"}
    assert set(added["protocol"]) == {"linear"}
    assert len(read_trials(results)) == 3
    assert_frame_equal(values(results).filter(pl.col("row_key").is_in(before["row_key"].implode())), before)
    for path in new:
        path.unlink()


def _kill_when(process: subprocess.Popen[str], ready: object) -> None:
    deadline = time.monotonic() + 300
    while not ready() and process.poll() is None:  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("table", ["trials", "rows"])
def test_a_killed_driver_loses_nothing(undisturbed: tuple[Path, Path, str], tmp_path: Path, table: str) -> None:
    """SIGKILL in the middle of the search, or of the evaluation; then the same command again."""
    study, results, _ = undisturbed
    killed = tmp_path / "results"
    process = subprocess.Popen(
        command(study, "--results", killed),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(),
        text=True,
    )
    enough = 3 if table == "trials" else 4
    _kill_when(process, lambda: len(list((killed / table).glob("*.parquet"))) >= enough)
    left = Fragments(killed, "rows").scan().collect().height
    assert left < TINY_ROWS
    again = bench(study, "--results", killed)
    assert again.returncode == 0, again.stdout + again.stderr
    assert_frame_equal(values(killed), values(results))


@pytest.mark.parametrize(("number", "status", "name"), [(2, 130, "Ctrl-C"), (15, 143, "SIGTERM")])
def test_a_stopped_study_says_how_to_go_on(
    undisturbed: tuple[Path, Path, str], tmp_path: Path, number: int, status: int, name: str
) -> None:
    study, _, _ = undisturbed
    results = tmp_path / "results"
    process = subprocess.Popen(
        command(study, "--results", results),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
        text=True,
    )
    deadline = time.monotonic() + 300
    while not list((results / "rows").glob("*.parquet")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    again = f"python -m bench.run {study} --results {results}"
    assert errors == f"stopped by {name}: nothing is lost, what was finished is in {results}; to go on: {again}\n"


def test_a_method_that_diverges_is_shown(tmp_path: Path, tiny: Path) -> None:
    done = bench(
        tiny,
        "--results",
        tmp_path / "results",
        *("--set", "nuisance={}", "--set", "scientific={}", "--set", "seeds=1"),
        *("--set", "methods={pixels: {}, mae: {epochs: 2, batch_size: 64, lr: 1e20}}"),
        *("--set", "evaluate=[{protocol: linear, label_budgets: [1, 2], draws: 2}]"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = Fragments(tmp_path / "results", "rows").scan().collect()
    assert dict(rows.group_by("method").agg(pl.col("status").unique()).iter_rows()) == {
        "pixels": ["ok"],
        "mae": ["diverged"],
    }
    assert "diverged" in done.stdout
