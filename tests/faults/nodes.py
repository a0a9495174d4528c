"""Ray for the bench: drivers and nodes in sessions of their own, found and killed by their ids, never by name alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.faults.ground import Run

ROOT = Path(__file__).parents[2]
SECONDS = 400.0  # that a driver may take


class Driver:
    """`python -m bench.run` on the study of a run, with a temporary folder of its own for Ray."""

    def __init__(self, run: Run, *arguments: str, **environment: str) -> None:
        self.run = run
        study = run.folder / "study.yaml"
        study.write_text(yaml.safe_dump(run.study))
        self.temporary = tempfile.mkdtemp(prefix="bf-")  # short: sockets lie in it
        self.log = run.log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.run", str(study), "--results", str(run.root), *arguments],
            stdout=self.log,
            stderr=self.log,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_TMPDIR": self.temporary, **environment},
            start_new_session=True,
        )

    @property
    def busy(self) -> bool:
        """Whether it has begun to hand out work."""
        return any((self.run.root / "progress").glob("*.json"))

    def until(self, ready: Callable[[], object], seconds: float = SECONDS) -> bool:
        """Waits until something is so; False where the driver ended first.

        Raises:
            TimeoutError: neither happened.
        """
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if ready():
                return True
            if time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                raise TimeoutError(f"the driver was still at it after {seconds:.0f} s")
            time.sleep(0.02)
        return False

    def wait(self) -> int:
        """Its exit status; what it leaves running is killed."""
        self.until(lambda: False)
        self.end(signal.SIGKILL)
        return self.process.returncode

    def end(self, number: int, grace: float = 0.0) -> None:
        """Sends a signal, SIGKILL after the grace period, and clears away what it had started."""
        left = descendants(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace or 5.0)
            self.process.kill()
            self.process.wait()
        clear(left)
        self.log.close()
        shutil.rmtree(self.temporary, ignore_errors=True)


class Node:
    """`ray start --block`: a head without CPUs, or a worker node with one."""

    def __init__(self, log: Path, address: str, head: bool) -> None:
        self.temporary = tempfile.mkdtemp(prefix="bf-") if head else None
        ray = str(Path(sys.executable).with_name("ray"))
        where = ["--head", f"--port={address.rpartition(':')[2]}", f"--temp-dir={self.temporary}", "--num-cpus=0"]
        if not head:
            where = [f"--address={address}", "--num-cpus=1"]
        self.log = log.open("ab")
        self.process = subprocess.Popen(
            [ray, "start", *where, "--block", "--include-dashboard=false", "--object-store-memory=100000000"]
            if head
            else [ray, "start", *where, "--block", "--object-store-memory=100000000"],
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"},
            start_new_session=True,
        )

    def raylet(self) -> int | None:
        """Process id of its raylet, once it runs."""
        return next((pid for pid in descendants(self.process.pid) if "raylet/raylet" in command(pid)), None)

    def kill(self) -> None:
        """SIGKILL of everything on the node."""
        left = descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        clear(left)
        self.log.close()
        if self.temporary:
            shutil.rmtree(self.temporary, ignore_errors=True)


@contextmanager
def cluster(run: Run) -> Iterator[tuple[str, list[Node]]]:
    """Address and nodes (the head first, then a worker node) of a cluster; what is added to the list is ended too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"{socket.gethostbyname(socket.gethostname())}:{port}"
    nodes = [Node(run.folder / "ray.log", address, head=True)]
    try:
        _until_listening(address, nodes[0])
        nodes.append(Node(run.folder / "ray.log", address, head=False))
        yield address, nodes
    finally:
        for node in reversed(nodes):
            if node.process.poll() is None or not node.log.closed:
                node.kill()


def _until_listening(address: str, node: Node) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and node.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.2)
    raise RuntimeError("the head of the cluster did not start")


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


def clear(pids: list[int], grace: float = 3.0) -> None:
    """Ends those of these processes that do not end by themselves."""
    ours = {pid: command(pid) for pid in pids}
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(said and command(pid) == said for pid, said in ours.items()):
        time.sleep(0.05)
    for pid, said in ours.items():
        if said and command(pid) == said:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
