"""SIGTERM and Ctrl-C: one line and a prompt end, whatever the run and its libraries are at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.engine.stopping import rearm, same_command, stoppable
from tests.engine.conftest import ROOT

SECONDS = 0.5
STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}
BEFORE = f"""
import os, signal, sys, time
from bench.engine.stopping import rearm, stoppable
def wait():
    print("ready", flush=True)
    time.sleep(30)
with stoppable("here", {SECONDS}):
"""
# How the block that is stopped behaves: each says something on standard error, which nobody may see.
BLOCKS = {
    "ends at once": """
    try:
        wait()
    finally:
        os.write(2, b"noise of C++")
""",
    "fails on its way out": """
    try:
        wait()
    except KeyboardInterrupt:
        raise RuntimeError("the cluster is gone")
""",
    "does not end": """
    try:
        wait()
    finally:
        print("noise", file=sys.stderr)
        time.sleep(30)
""",
    # as a main thread in C++: the handler in Python does not run
    "does not hear": """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    wait()
""",
    "has a library that took the signals": """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(99))
    rearm()
    wait()
""",
    "exits by a library's handler": """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit("noise"))
    wait()
""",
}
QUICK = ("ends at once", "fails on its way out", "has a library that took the signals")


@pytest.mark.parametrize("number", STATUS, ids=lambda number: number.name)
@pytest.mark.parametrize("how", BLOCKS)
def test_one_line_and_a_prompt_end(how: str, number: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(BEFORE + BLOCKS[how])
    process = subprocess.Popen(
        [sys.executable, str(script), "a b"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    begun = time.monotonic()
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    name = {signal.SIGTERM: "by SIGTERM", signal.SIGINT: "by Ctrl-C"}[number]
    assert said == (f"stopped {name}: nothing is lost, what was finished is in here; to go on: child.py 'a b'\n")
    assert process.returncode == STATUS[number]
    if how in QUICK:
        assert time.monotonic() - begun < SECONDS


def test_a_block_that_is_not_stopped_leaves_no_trace() -> None:
    before = [signal.getsignal(number) for number in STATUS], signal.set_wakeup_fd(-1)
    with stoppable("here"):
        assert signal.getsignal(signal.SIGTERM) != before[0][0]
    with pytest.raises(SystemExit, match="7"), stoppable("here"):
        sys.exit(7)
    with pytest.raises(ValueError, match="mine"), stoppable("here"):
        raise ValueError("mine")
    rearm()
    assert ([signal.getsignal(number) for number in STATUS], signal.set_wakeup_fd(-1)) == before


def test_the_same_command_is_what_was_typed() -> None:
    assert same_command(["/x/bench/run.py", "a study.yaml"]) == "python -m bench.run 'a study.yaml'"
    assert same_command(["/x/bin/bench", "run", "--set", "a=1"]) == "bench run --set a=1"
    assert same_command(["/x/bench/cli.py", "run"]) == "python -m bench.cli run"
