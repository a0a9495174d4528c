"""The command line: every command, every kind of mistake, and that nothing heavy starts before it is needed."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from bench.cli import app, main
from bench.data.catalog import open_dataset
from bench.results.leaderboard import make_board
from bench.results.opening import open_results
from bench.store.fragments import Fragments
from bench.study.load import load_study
from bench.study.methods import METHODS
from bench.study.protocols import PROTOCOLS
from tests.results.synthetic import write_study

COMMANDS = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
STUDY = {
    "study": "small",
    "data": {"name": "digits", "max_train": 200, "max_test": 100},
    "methods": {"pixels": {}, "mae": {"encoder": "vit_nano", "epochs": 1, "batch_size": 64}},
    "scientific": {"mae.mask_ratio": [0.25, 0.75]},
    "evaluate": [{"protocol": "linear", "label_budgets": [1, 2], "draws": 2}],
    "seeds": 2,
    "reference": ["pixels+linear"],
}


class Done(NamedTuple):
    status: int
    out: str
    err: str


Bench = Callable[..., Done]


@pytest.fixture
def bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Runs one command in this process, as the entry point does."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Done(int(stopped.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_study(folder, seeds=2, draws=2)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "small.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(bench: Bench, command: str) -> None:
    done = bench(command, "--help")
    assert done.status == 0
    assert "Usage" in done.out


def test_help_starts_nothing_heavy() -> None:
    code = (
        "import sys\nfrom bench.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'ray', 'polars', 'plotly', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


def test_without_a_command_the_help_is_shown(bench: Bench) -> None:
    done = bench()
    assert "leaderboard" in done.out + done.err
    assert "error" not in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["leaderboard", "--nothing"], "No such option: --nothing"),
        (["leaderboard", "--target", "high"], "Invalid value for '--target'"),
        (
            ["leaderboard", "--results", "ROOT", "--format", "jsn"],
            "--format: unknown format 'jsn' (did you mean 'json'?)",
        ),
        (["leaderboard", "--results", "ROOT", "--metric", "f1"], "--metric: unknown metric 'f1'"),
        (
            ["leaderboard", "--results", "ROOT", "--study", "other"],
            "--study: unknown study 'other'; valid: mae-mask-ratio",
        ),
        (
            ["leaderboard", "--results", "ROOT", "--budget", "3"],
            "--budget: no rows at label budget '3'; valid: 1, 2, 5",
        ),
        (["leaderboard", "--results", "ROOT", "--target", "8"], "--target: 8 is no score"),
        (
            ["leaderboard", "--results", "ROOT", "--by", "seed"],
            "--by: unknown grouping 'seed'; valid: axis, dataset, method",
        ),
        (["leaderboard", "--results", "NONE"], "no such folder; run a study first"),
        (["leaderboard", "--results", "EMPTY"], "no results here yet"),
        (["export", "--results", "NONE"], "no such folder"),
        (
            ["export", "--results", "ROOT", "--format", "pdf"],
            "--format: unknown format 'pdf'; valid: bundle, csv, figures",
        ),
        (["verify", "EMPTY"], "not a bundle"),
        (["compare", "EMPTY", "EMPTY"], "not a bundle"),
        (["verify"], "Missing argument 'BUNDLE'"),
        (["gc", "--results", "NONE"], "no such folder"),
        (["gc", "--results", "ROOT", "--keep", "much"], "--keep: 'much' is not a size"),
        (["plan", "nothing"], "study 'nothing': no such file"),
        (["plan", "--set", "mae.masks=1"], "--set mae.masks: unknown option 'masks'"),
        (["run", "nothing"], "study 'nothing': no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_a_line_and_status_2(
    bench: Bench, root: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    places = {"ROOT": root, "NONE": tmp_path / "none", "EMPTY": tmp_path}
    done = bench(*(places.get(argument, argument) for argument in arguments))
    assert done.status == 2
    assert done.err.startswith("error: ")
    assert message in done.err
    assert len(done.err.splitlines()) <= 2
    assert done.out == ""


def test_the_leaderboard_has_the_numbers_of_the_dashboard(bench: Bench, root: Path) -> None:
    """Both read `make_board`; the command prints nothing else."""
    board = make_board(open_results(root))
    lines = list(csv.DictReader(io.StringIO(bench("leaderboard", "--results", root, "--format", "csv").out)))
    (told,) = json.loads(bench("leaderboard", "--results", root, "--format", "json").out)
    for name in ("score", "score_low", "score_high", "saved", "place"):
        values = board.frame[name].to_list()
        assert [float(line[name]) if line[name] else None for line in lines] == values
        assert [entrant[name] for entrant in told["entrants"]] == values
    assert r"\begin{tabular}" in bench("leaderboard", "--results", root, "--format", "latex").out


def test_the_table_ends_with_the_sentence(bench: Bench, root: Path) -> None:
    done = bench("leaderboard", "--results", root, "--target", "0.6")
    assert done.status == 0
    words = " ".join(done.out.split())
    assert "simclr + linear needs" in words
    assert "than the better of random_init + finetune and pixels + linear to reach balanced accuracy 0.6" in words
    assert "at 0.6" in next(line for line in done.out.splitlines() if "at 0.6" in line and "simclr" not in line)


@pytest.mark.parametrize("by", ["dataset", "method", "axis"])
def test_groups_have_titles(bench: Bench, root: Path, by: str) -> None:
    done = bench("leaderboard", "--results", root, "--by", by)
    assert done.status == 0
    assert {"dataset": "fashion_mnist", "method": "simclr", "axis": "mask_ratio=0.75"}[by] in done.out


def test_export_verify_and_compare_work_together(bench: Bench, root: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = bench("export", "--results", root, "--format", "bundle", "--to", tmp_path / name)
        assert done.status == 0
        assert done.out.splitlines()[-1] == str(tmp_path / name / "digests.json")
    done = bench("verify", tmp_path / "a")
    assert (done.status, len(done.out.splitlines())) == (0, 1)
    done = bench("compare", tmp_path / "a", tmp_path / "b")
    assert (done.status, done.out.strip()) == (0, "9 entrants: 9 same rows.")
    (tmp_path / "b" / "curves.parquet").unlink()
    done = bench("verify", tmp_path / "b")
    assert done.status == 1
    assert "curves.parquet: SHA-256" in done.out


def test_plan_without_and_with_the_data_read(bench: Bench, study: Path, tmp_path: Path) -> None:
    done = bench("plan", study, "--results", tmp_path)
    assert done.status == 0
    assert "unknown until the images are read" in done.out
    assert "mae" in done.out
    assert not list(tmp_path.iterdir())
    open_dataset(load_study(study, []).data, tmp_path)
    done = bench("plan", study, "--results", tmp_path)
    assert done.status == 0
    assert "0 of 20 rows are in the store" in done.out  # pixels: 4; mae: 2 settings x 2 seeds x 4
    again = bench("plan", study, "--results", tmp_path, "--set", "seeds=1")
    assert "0 of 12 rows are in the store" in again.out


@pytest.mark.parametrize(("command", "registry"), [("methods", METHODS), ("protocols", PROTOCOLS)])
def test_registries_are_listed_with_their_options(bench: Bench, command: str, registry: dict) -> None:
    done = bench(command)
    assert done.status == 0
    for name, options in registry.items():
        assert name in done.out
        assert all(field in done.out for field in options.model_fields)


def test_gc_says_what_it_would_do_and_merges_fragments(bench: Bench, tmp_path: Path) -> None:
    write_study(tmp_path, seeds=2, draws=2)
    fragments = Fragments(tmp_path, "rows")
    rows = fragments.scan().collect()
    fragments.files()[0].unlink()
    for part in rows.iter_slices(100):
        fragments.write(part)
    before = len(fragments.files())
    done = bench("gc", "--results", tmp_path, "--dry-run")
    assert done.status == 0
    assert "would remove 0.0 MB" in done.out
    assert len(fragments.files()) == before > 1
    assert "merged the fragments of rows" in bench("gc", "--results", tmp_path).out
    assert len(fragments.files()) == 1
    assert fragments.scan().collect().sort("row_key").equals(rows.sort("row_key"))


def test_the_dashboard_stays_on_this_machine(bench: Bench, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    called: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda program, command: called.append(command))
    assert bench("dashboard", "--results", root, "--port", "8600").status == 0
    (command,) = called
    assert command[-2:] == ["--results", str(root)]
    assert "127.0.0.1" in command
