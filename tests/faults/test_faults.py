"""A handful of the faults that `make faults` injects by the hundred, and what the bench found, each by itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import RayTaskError, WorkerCrashedError
from rich.console import Console

import bench.engine.progress as progress_module
from bench.data.catalog import open_dataset
from bench.data.splits import splits_path
from bench.engine.outcome import Outcome
from bench.engine.site import Site
from bench.engine.tasks import Tasks, _why
from bench.store.datasets import DataRecord
from bench.store.quarantine import quarantined
from bench.study.spec import DataSpec, Resources
from bench.training.checkpoint import read_checkpoint, save_checkpoint
from tests.faults.ground import Tally, compare

ROOT = Path(__file__).parents[2]
HANDFUL = (
    "kill",
    "kill_in_write",
    "kill_trial_record",
    "harmed_checkpoint",
    "harmed_features",
    "harmed_encoder",
    "full_disk",
    "no_memory",
)
DIGITS = DataSpec(name="digits", max_train=200, max_test=60)


def test_a_handful_of_faults_loses_nothing(tmp_path: Path) -> None:
    cases = [word for name in HANDFUL for word in ("--case", name)]
    command = [sys.executable, "-m", "tests.faults", "--seed", "1", "--faults", "8", *cases]
    done = subprocess.run(
        [*command, "--json", str(tmp_path / "faults.json")], cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tallies = json.loads((tmp_path / "faults.json").read_text())
    assert [tally["case"] for tally in tallies] == list(HANDFUL)
    assert all(tally["faults"] or tally["skipped"] for tally in tallies), done.stderr


def seen(*keys: str, **values: Any) -> dict[str, Any]:
    rows = {key: {"method": "mae", "accuracy": values.get(key, 0.5)} for key in keys}
    return {"expected": ["a", "b"], "keys": list(keys), "rows": rows, "damaged": values.get("damaged", [])}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (seen("a", "b"), (0, 0, 0)),
        (seen("a"), (1, 0, 0)),
        (seen("a", "b", "b"), (0, 1, 0)),
        (seen("a", "b", "strange"), (0, 1, 0)),
        (seen("a", "b", b=0.5 + 1e-16 + 2**-52), (0, 0, 1)),
        (seen("a", "b", damaged=["x.parquet"]), (0, 0, 1)),
    ],
)
def test_the_bench_counts_what_is_lost_doubled_and_changed(found: dict[str, Any], said: tuple[int, int, int]) -> None:
    ground = SimpleNamespace(truth=SimpleNamespace(seen=seen("a", "b")))
    tally = Tally("case")
    compare(tally, SimpleNamespace(ground=ground, look=lambda: found, done=lambda: (0, 0)), (0, 0))
    assert (tally.lost, tally.duplicated, tally.different) == said
    assert tally.passed == (said == (0, 0, 0))


def harm(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
        return
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["cut short", "bit flipped"])
@pytest.mark.parametrize("what", ["splits", "data"])
def test_a_harmed_table_of_splits_or_record_is_put_aside_and_made_again(what: str, how: str, tmp_path: Path) -> None:
    before = open_dataset(DIGITS, tmp_path).splits
    path = next((tmp_path / what).iterdir())
    sound = path.read_bytes()
    harm(path, how)
    after = open_dataset(DIGITS, tmp_path).splits
    assert after.digest == before.digest
    assert after.train.tolist() == before.train.tolist()
    assert quarantined(tmp_path) == [f"{what}-{path.name}"]
    if what == "data":
        assert path.read_bytes() == sound


def test_a_record_of_an_earlier_version_has_no_digest_and_is_read(tmp_path: Path) -> None:
    open_dataset(DIGITS, tmp_path)
    path = next((tmp_path / "data").iterdir())
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content))
    record = DataRecord.load(tmp_path, path.stem)
    assert record is not None
    assert splits_path(tmp_path, record.split_digest).exists()


def test_a_checkpoint_whose_folder_another_process_removes_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gone" / "checkpoint.pt"
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(FileNotFoundError(path)))
    save_checkpoint(path, {"step": 1})
    assert read_checkpoint(path) is None


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Tasks]:
    """Tasks of which one has ended, and whose outcome cannot be received."""

    def receive(outcome: Outcome) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ray, "wait", lambda references, timeout: (references, []))
    monkeypatch.setattr(ray, "get", lambda reference: Outcome("mae", "ok", None, 1, 1.0))
    monkeypatch.setattr(ray, "cancel", lambda reference, force: None)
    made = Tasks(Site(tmp_path, DIGITS, Resources()), receive, 1)
    made._pending["reference"] = "mae"  # type: ignore[index]
    return made


@pytest.mark.timeout(30)
def test_a_gathering_thread_that_fails_is_not_waited_for(tasks: Tasks) -> None:
    with pytest.raises(OSError, match="No space left"), tasks:
        tasks.wait()


def test_a_full_disk_does_not_end_a_study_by_its_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress_module, "write_json", full)
    with progress_module.Progress(Console(quiet=True), tmp_path / "p.json", "s", progress_module.Counts(1)) as progress:
        progress.unit("mae", "ok", 3)


def test_a_task_that_failed_says_why_in_one_line() -> None:
    raised = RayTaskError("run_units", "Traceback ...\nlong", OSError(28, "No space left on device"))
    assert _why(raised) == "OSError: [Errno 28] No space left on device"
    assert "\n" not in _why(WorkerCrashedError())
