"""What the Ray cases stand on, without Ray: the journal in every process, and ending processes by their ids."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.faults import moments
from tests.faults.bench import CASES, RAY_CASES
from tests.faults.ground import Tally
from tests.faults.journal import last_at_work
from tests.faults.nodes import environment
from tests.faults.tree import clear, command, descendants, living

_LOOK = """
import os
import bench.training.loop as loop
from tests.faults.hook.sitecustomize import LOOP, watched
assert loop._Training.step.__qualname__.startswith("count_steps")
loop._Training.step = lambda training, network: None
watched(LOOP, loop)
assert loop.pretrain.__kwdefaults__["checkpoint_seconds"] == 0.0
loop._Training.step(None, None)
print(os.getpid())
"""


def test_a_process_with_the_hook_keeps_the_journal(tmp_path: Path) -> None:
    run = SimpleNamespace(journal=tmp_path / "journal")
    done = subprocess.run([sys.executable, "-c", _LOOK], env=environment(run, str(tmp_path)), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert run.journal.read_bytes() == b"s"
    assert last_at_work(run.journal) == int(done.stdout)


def test_only_processes_that_were_named_are_ended() -> None:
    parent = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 61 & wait"])
    other = subprocess.Popen(["sleep", "62"])
    try:
        deadline = time.monotonic() + 30
        while len(descendants(parent.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        children = descendants(parent.pid)
        assert sorted(command(pid).split()[1] for pid in children) == ["60", "61"]
        named = living(children)
        clear(named | {other.pid: "another beginning"}, grace=0.0)
        parent.wait(30)
        assert living(children) == {}
        assert other.poll() is None
    finally:
        for process in (parent, other):
            process.kill()
            process.wait()


def test_a_case_that_strikes_nothing_is_no_success(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\ntwo\n")
    run = SimpleNamespace(study={"methods": {"mae": {"epochs": 2}}}, log=log)
    ground = SimpleNamespace(fresh=lambda: run)
    with pytest.raises(RuntimeError, match="no fault struck"):
        for _ in moments.runs(ground, Tally("case"), 3):
            pass


def test_a_moment_lies_in_the_work_that_is_left() -> None:
    done = [10, 0]

    def until(ready: object) -> bool:
        while not ready():  # type: ignore[operator]
            done[0] += 1
        return True

    run, truth = SimpleNamespace(done=lambda: tuple(done)), SimpleNamespace(steps=50, scored=12)
    for seed in range(20):
        done[:] = [10, 0]
        assert moments.reached(np.random.default_rng(seed), SimpleNamespace(run=run, until=until), truth)
        assert 10 < done[0] < 62


def test_no_case_has_two_meanings() -> None:
    assert not CASES.keys() & RAY_CASES.keys()
    assert all(name.startswith("ray_") for name in RAY_CASES)
