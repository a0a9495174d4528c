"""Trees of processes: who started whom, and ending what is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path


def command(pid: int) -> str:
    """The command line of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """Ids of the processes that a process started, and those that they did."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found, ahead = [], [pid]
    while ahead:
        children = parents.get(ahead.pop(), [])
        found += children
        ahead += children
    return found


def living(pids: list[int]) -> dict[int, str]:
    """When each of these processes began, of those that live: an id may come again, not with the same beginning."""
    return {pid: begun for pid in pids if (begun := _begun(pid)) is not None}


def clear(processes: dict[int, str], grace: float = 3.0) -> None:
    """Ends those of these processes, as `living` names them, that do not end by themselves."""
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(_begun(pid) == begun for pid, begun in processes.items()):
        time.sleep(0.05)
    for pid, begun in processes.items():
        if _begun(pid) == begun:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _begun(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
