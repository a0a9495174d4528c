"""Where a soak takes place: a results folder, a cluster of two nodes, a driver that is started again and again."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from tests.faults.ground import Run, damage, pick
from tests.faults.nodes import Cluster, Driver
from tests.faults.on_cluster import NOTICE, drain
from tests.faults.on_ray import GRACE, LOST_CALLS, TASK
from tests.faults.processes import kill_after

_WAIT = 30.0  # seconds for something to be there that can be hit
HARMED = {
    "fragment": "rows/*.parquet",
    "features": "artifacts/features/*/*",
    "encoder": "artifacts/encoders/*/*",
    "checkpoint": "artifacts/checkpoints/*/*.pt",
    "marker": "artifacts/*/*/.complete",
    "splits": "splits/*.parquet",
    "record": "data/*.json",
}


class Field:
    """One study that Ray runs, and everything that may befall it. What strikes it says so in `notes`."""

    def __init__(self, run: Run, rng: np.random.Generator, cpus: int) -> None:
        self.run, self.rng, self.cpus = run, rng, cpus
        self.notes: Counter[str] = Counter()
        self.sittings = 0
        self.cluster = self._new_cluster()
        self.driver: Driver | None = None
        self._more: dict[str, str] = {}  # environment of the next driver
        self.faults: dict[str, Callable[[], None]] = {
            "driver_killed": lambda: self.leave(signal.SIGKILL),
            "driver_terminated": lambda: self.leave(signal.SIGTERM),
            "task_killed": self._task,
            "raylet_killed": self._raylet,
            "node_drained": self._drained,
            "head_killed": self._head,
            "remote_calls": self._remote_calls,
            "rival": self._rival,
            **{f"harmed_{kind}": lambda kind=kind: self._harmed(kind) for kind in HARMED},
        }

    def go_on(self) -> int | None:
        """Starts a driver where none runs; the exit status of one that has ended since, else None."""
        if self.driver is None:
            self._mend()
            self.driver = Driver(self.run, "--address", self.cluster.address, **self._more)
            self._more, self.sittings = {}, self.sittings + 1
            return None
        status = self.driver.process.poll()
        if status is not None:
            self.leave(signal.SIGKILL)
        return status

    def _mend(self) -> None:
        """A new cluster where the head is gone, another node where the last is, though nothing struck them."""
        if self.cluster.head.process.poll() is not None:
            self.notes["the head ended by itself"] += 1
            self._head()
        elif self.cluster.worker.process.poll() is not None:
            self.notes["a worker node ended by itself"] += 1
            self.cluster.add()

    def leave(self, number: int) -> None:
        """Ends the driver, if there is one, by this signal."""
        if self.driver is not None and not self.driver.end(number, GRACE):
            self.notes["SIGKILL was needed behind SIGTERM"] += 1
        self.driver = None

    def end(self) -> None:
        self.leave(signal.SIGKILL)
        self.cluster.end()

    def _new_cluster(self) -> Cluster:
        made = Cluster(self.run, self.cpus)
        try:
            made.ready()
        except RuntimeError:
            made.end()
            raise
        return made

    def _busy(self) -> int | None:
        """A process that works on a task."""
        return self.cluster.worker.worker(TASK)

    def _until(self, ready: Callable[[], object]) -> bool:
        deadline = time.monotonic() + _WAIT
        while not ready():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _task(self) -> None:
        found: list[int] = []
        if self._until(lambda: found.extend(filter(None, [self._busy()])) or found):
            os.kill(found[0], signal.SIGKILL)
        else:
            self.notes["task_killed: none ran"] += 1

    def _raylet(self) -> None:
        self._replace(lambda: self.cluster.worker.kill_raylet())

    def _drained(self) -> None:
        self._replace(lambda: drain(self.cluster))

    def _replace(self, strike: Callable[[], None]) -> None:
        struck = self.cluster.worker
        strike()
        self.cluster.add()
        time.sleep(NOTICE)
        struck.kill()

    def _head(self) -> None:
        self.cluster.end()
        self.leave(signal.SIGKILL)
        self.cluster = self._new_cluster()

    def _remote_calls(self) -> None:
        self.leave(signal.SIGTERM)
        self._more = {"RAY_testing_rpc_failure": LOST_CALLS}

    def _rival(self) -> None:
        """A second run of the study in the same folder, without Ray, that is killed after some CPU seconds."""
        kill_after(self.run.start(), float(self.rng.uniform(1, 8)))

    def _harmed(self, kind: str) -> None:
        """A file is harmed while nobody reads or writes: the driver is killed, and its tasks are gone."""
        self.leave(signal.SIGKILL)
        if not self._until(lambda: self._busy() is None):
            self.notes["tasks of a killed driver went on"] += 1
            return
        found = [path for path in self.run.root.glob(HARMED[kind]) if path.is_file() and path.stat().st_size]
        if found:
            self.notes[f"{kind} {damage(self.rng, pick(self.rng, found))}"] += 1
        else:
            self.notes[f"harmed_{kind}: there was none"] += 1


def left_behind(run: Run) -> dict[str, int]:
    """Files of the results that a reader never sees: unfinished ones, and what was put aside."""
    shown = {"unfinished files": ".*.part", "unfinished folders": ".building-*"}
    found = {name: len(list(run.root.rglob(pattern))) for name, pattern in shown.items()}
    quarantine = run.root / "quarantine"
    return found | {"in quarantine": len(list(quarantine.iterdir())) if quarantine.is_dir() else 0}


def room_mb(run: Run) -> float:
    """What the results take on the disk."""
    return sum(path.stat().st_size for path in run.root.rglob("*") if path.is_file()) / 2**20
