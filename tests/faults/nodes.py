"""Ray for the bench: drivers and nodes in process groups of their own, found and killed by their ids, not by name."""

from __future__ import annotations

import contextlib
import json
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
from typing import Self

import yaml

from tests.faults.ground import Run
from tests.faults.hook.sitecustomize import JOURNAL, PAUSE
from tests.faults.tree import clear, command, descendants, living

ROOT = Path(__file__).parents[2]
SECONDS = 1800.0  # that a driver may take, on a machine that has much else to do
STEP_SECONDS = 0.05  # that a training step takes longer than it would
HOST = "127.0.0.1"


def environment(run: Run, temporary: str) -> dict[str, str]:
    """For every process of Ray: token, a folder of its own for it, and the journal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {
        "PYTHONPATH": f"{ROOT / 'tests' / 'faults' / 'hook'}:{ROOT}",
        "RAY_TMPDIR": temporary,
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_health_check_period_ms": "1000",  # a node that is gone is noticed in seconds, as in the cluster test
        JOURNAL: str(run.journal),
        PAUSE: str(STEP_SECONDS),
    }


class Driver:
    """`python -m bench.run` on the study of a run, with a temporary folder of its own for Ray."""

    def __init__(self, run: Run, *arguments: str, **more: str) -> None:
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
            env=environment(run, self.temporary) | more,
            process_group=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

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
                raise TimeoutError(
                    f"the driver was still at it after {seconds:.0f} s: {self.run.log.read_text()[-500:]}"
                )
            time.sleep(0.02)
        return False

    def wait(self) -> int:
        """Its exit status; what it leaves running is killed."""
        self.until(lambda: False)
        self.end(signal.SIGKILL)
        return self.process.returncode

    def end(self, number: int, grace: float = 5.0) -> bool:
        """Sends a signal, SIGKILL after the grace period, and clears away what it had started.

        Returns:
            Whether the signal was enough.
        """
        left, enough = living(descendants(self.process.pid)), True
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                enough = False
                self.process.kill()
                self.process.wait()
        clear(left)
        self.log.close()
        shutil.rmtree(self.temporary, ignore_errors=True)
        return enough


class Node:
    """`ray start --block`: the head, to which drivers on this machine connect, or a worker node with a name."""

    def __init__(self, run: Run, address: str, *, name: str | None = None, cpus: int = 0) -> None:
        self.name, self.temporary = name, tempfile.mkdtemp(prefix="bf-")
        where = [f"--num-cpus={cpus}", "--block", "--object-store-memory=100000000"]
        if name is None:
            where += ["--head", f"--node-ip-address={HOST}", f"--port={address.rpartition(':')[2]}"]
            where += ["--include-dashboard=false", f"--temp-dir={self.temporary}"]
        else:
            where += [f"--address={address}", f"--resources={json.dumps({name: 1})}"]
        self.log = (run.folder / "ray.log").open("ab")
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), "start", *where],
            stdout=self.log,
            stderr=self.log,
            env=environment(run, self.temporary),
            process_group=0,
        )
        self._left: dict[int, str] = {}  # of a node whose raylet was killed

    def raylet(self) -> int | None:
        """Process id of its raylet, once it runs."""
        return next((pid for pid in descendants(self.process.pid) if "raylet/raylet" in command(pid)), None)

    def worker(self, title: str) -> int | None:
        """A Ray process on the node whose title begins so now."""
        return next((found for found in descendants(self.process.pid) if command(found).startswith(title)), None)

    def kill_raylet(self) -> None:
        """SIGKILL of the raylet alone; what it started ends by itself, or with `kill`."""
        raylet = self.raylet()
        self._left = living(descendants(self.process.pid))
        if raylet is not None:
            os.kill(raylet, signal.SIGKILL)

    def kill(self) -> None:
        """SIGKILL of everything on the node: its power is gone."""
        clear(self._left | living([self.process.pid, *descendants(self.process.pid)]), grace=0.0)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.temporary, ignore_errors=True)


class Cluster:
    """A head without CPUs, and worker nodes; more are added as they die. All are on this machine."""

    def __init__(self, run: Run, cpus: int = 1) -> None:
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.address = f"{HOST}:{free.getsockname()[1]}"
        self.run, self._cpus = run, cpus
        self.head = Node(run, self.address)
        self.workers: list[Node] = []

    @property
    def worker(self) -> Node:
        """The node that came last."""
        return self.workers[-1]

    def add(self) -> None:
        """Starts another worker node."""
        self.workers.append(Node(self.run, self.address, name=f"node{len(self.workers)}", cpus=self._cpus))

    def ready(self) -> None:
        """Raises:
        RuntimeError: the head, or the worker node, did not come up.
        """
        host, _, port = self.address.rpartition(":")
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self.head.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                if not self.workers:
                    self.add()
                if self.worker.raylet() is not None:
                    return
            time.sleep(0.2)
        raise RuntimeError(f"the cluster did not start: {(self.run.folder / 'ray.log').read_text()[-1000:]}")

    def end(self) -> None:
        for node in [*reversed(self.workers), self.head]:
            node.kill()


@contextmanager
def cluster(run: Run) -> Iterator[Cluster]:
    """A cluster with one worker node, gone at the end with whatever was added to it."""
    made = Cluster(run)
    try:
        made.ready()
        yield made
    finally:
        made.end()
