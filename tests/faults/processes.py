"""Real processes that cost milliseconds: forked from one that has imported everything and opened nothing."""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_POLL = 0.005
_TICKS = os.sysconf("SC_CLK_TCK")


def start(log: Path, function: Callable[..., Any], *arguments: Any) -> int:
    """Forks a process that calls the function, its output and traceback going to the log; returns its id.

    The caller must not have used Polars or several threads of torch: a fork of their pools never answers.
    """
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setpgid(0, 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        function(*arguments)
        status = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def ended(process: int) -> int | None:
    """The exit status (negative: the signal) of a process, or None where it runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def wait(process: int, seconds: float = 900.0) -> int:
    """Waits for a process; one that takes longer is killed.

    Raises:
        TimeoutError: it took longer: something hangs.
    """
    deadline = time.monotonic() + seconds
    while (status := ended(process)) is None:
        if time.monotonic() > deadline:
            kill(process)
            raise TimeoutError(f"a process was still at it after {seconds:.0f} s")
        time.sleep(_POLL)
    return status


def kill(process: int, number: int = signal.SIGKILL) -> int:
    """Sends a signal, after a second SIGKILL, and waits."""
    os.kill(process, number)
    deadline = time.monotonic() + 1.0
    while (status := ended(process)) is None:
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
        time.sleep(_POLL)
    return status


def spent(process: int) -> float:
    """CPU seconds that a process has had: its own clock, which runs as it gets on."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def reaches(process: int, seconds: float) -> bool:
    """Waits until a process has had so many CPU seconds; False where it ended before."""
    begun = spent(process)
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if spent(process) - begun >= seconds:
            return True
        time.sleep(_POLL)
    return False


def kill_after(process: int, seconds: float, number: int = signal.SIGKILL) -> bool:
    """Sends a signal after so many CPU seconds; whether the process was still running then."""
    if not reaches(process, seconds):
        wait(process)
        return False
    kill(process, number)
    return True


def ask(log: Path, function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function answers in a process of its own, by way of JSON.

    Raises:
        RuntimeError: it failed; the end of its log is in the message.
    """
    answer = log.with_suffix(".answer")

    def write() -> None:
        answer.write_text(json.dumps(function(*arguments)))

    if wait(start(log, write)):
        raise RuntimeError(log.read_text()[-2000:])
    return json.loads(answer.read_text())
