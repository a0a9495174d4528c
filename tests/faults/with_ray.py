"""Faults of a cluster: of the driver, of a task, of a trial, of a worker of a group, of nodes, of remote calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tests.faults.ground import Ground, Run, Tally, Truth, compare
from tests.faults.nodes import Driver, Node, cluster, command, descendants

_LONGER = 10  # epochs: long enough for a process to be hit
_RPC = {
    "CoreWorkerService.grpc_client.PushTask": {"num_failures": 50, "req_failure_prob": 25, "resp_failure_prob": 25},
    "NodeManagerService.grpc_client.RequestWorkerLease": {
        "num_failures": 20,
        "req_failure_prob": 25,
        "resp_failure_prob": 25,
    },
}


def _fresh(ground: Ground) -> Run:
    run = ground.fresh()
    _lengthen(run.study)
    return run


def _lengthen(study: dict[str, Any]) -> None:
    study["methods"] = {"pixels": {}, "mae": {**study["methods"]["mae"], "epochs": _LONGER}}


@lru_cache(maxsize=1)
def _truth(ground: Ground) -> Truth:
    """Without Ray and undisturbed: where a task ran makes no difference to its bits."""
    return Truth(ground, _lengthen)


def _judge(ground: Ground, tally: Tally, run: Run, same: Callable[[str, Any, Any], bool] | None = None) -> None:
    # Steps are counted without Ray only: its workers keep no journal.
    compare(tally, run, (0, 0), same, truth=_truth(ground))
    run.drop()


def _finish(run: Run, tally: Tally, *arguments: str) -> None:
    if status := Driver(run, *arguments).wait():
        tally.notes[f"the last driver ended with {status}: {_end(run)}"] += 1


def _end(run: Run) -> str:
    return " / ".join(run.log.read_text().strip().splitlines()[-3:])[-300:]


def _signalled(number: int, grace: float) -> Callable[[Ground, Tally, int], None]:
    def case(ground: Ground, tally: Tally, faults: int) -> None:
        rng = ground.rng(tally.case)
        for _ in range(faults):
            run = _fresh(ground)
            driver = Driver(run)
            if driver.until(lambda driver=driver: driver.busy):
                time.sleep(float(rng.uniform(0, 6)))
                tally.faults += 1
            driver.end(number, grace)
            _finish(run, tally)
            _judge(ground, tally, run)

    return case


def _worker(driver: Driver, *titles: str) -> int | None:
    """A Ray process below the driver that does one of these things."""
    running = (pid for pid in descendants(driver.process.pid) if command(pid).startswith(titles))
    return next(running, None)


def task(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL of the process that pretrains; the driver must see to it by itself."""
    rng = ground.rng(tally.case)
    for _ in range(faults):
        run = _fresh(ground)
        driver = Driver(run)
        if driver.until(lambda driver=driver: _worker(driver, "ray::run_units")):
            time.sleep(float(rng.uniform(0, 4)))
            victim = _worker(driver, "ray::run_units")
            if victim is not None:
                os.kill(victim, signal.SIGKILL)
                tally.faults += 1
        if status := driver.wait():
            tally.notes[f"the driver ended with {status}: {_end(run)}"] += 1
            tally.lost += 1
        _judge(ground, tally, run)


def raylet(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL of the raylet of the only worker node; another node comes instead."""
    _node(ground, tally, faults, lambda nodes, _: os.kill(nodes[1].raylet() or nodes[1].process.pid, signal.SIGKILL))


def drained(ground: Ground, tally: Tally, faults: int) -> None:
    """The worker node is drained, as on a spot notice, and killed when its time is up."""

    def notice(nodes: list[Node], address: str) -> None:
        found = subprocess.run(
            [sys.executable, "-m", "tests.faults.drain", address], capture_output=True, text=True, timeout=120
        )
        if found.returncode:
            raise RuntimeError(found.stderr[-1000:])
        time.sleep(5)
        nodes[1].kill()

    _node(ground, tally, faults, notice)


def _node(ground: Ground, tally: Tally, faults: int, harm: Callable[[list[Node], str], None]) -> None:
    rng = ground.rng(tally.case)
    for _ in range(faults):
        run = _fresh(ground)
        with cluster(run) as (address, nodes):
            driver = Driver(run, "--address", address, RAY_AUTH_MODE="token")
            busy = driver.until(
                lambda driver=driver, nodes=nodes, run=run: (
                    any(command(pid).startswith("ray::run_units") for pid in descendants(nodes[1].process.pid))
                    or (driver.busy and any(run.root.glob("artifacts/checkpoints/*")))
                )
            )
            if busy:
                time.sleep(float(rng.uniform(0, 3)))
                harm(nodes, address)
                tally.faults += 1
                nodes.append(Node(run.folder / "ray.log", address, head=False))
            if status := driver.wait():
                tally.notes[f"the driver ended with {status}: {_end(run)}"] += 1
                _finish(run, tally)
        _judge(ground, tally, run)


def head(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL of everything on the head: that cluster is lost, the same command on another goes on."""
    rng = ground.rng(tally.case)
    for _ in range(faults):
        run = _fresh(ground)
        with cluster(run) as (address, nodes):
            driver = Driver(run, "--address", address, RAY_AUTH_MODE="token")
            if driver.until(lambda driver=driver: driver.busy):
                time.sleep(float(rng.uniform(0, 5)))
                nodes[0].kill()
                tally.faults += 1
            began = time.monotonic()
            driver.until(lambda began=began: time.monotonic() - began > 90)
            said = "ended by itself" if driver.process.poll() is not None else "did not end within 90 s and was killed"
            tally.notes[f"the driver of the lost cluster {said}"] += 1
            driver.end(signal.SIGKILL)
        _finish(run, tally)
        _judge(ground, tally, run)


def two_drivers(ground: Ground, tally: Tally, faults: int) -> None:
    """Two drivers, each with a cluster of its own, on one study and one results folder."""
    rng = ground.rng(tally.case)
    for _ in range(faults):
        run = _fresh(ground)
        first = Driver(run)
        time.sleep(float(rng.uniform(0, 8)))
        second = Driver(run)
        tally.faults += 1
        for name, driver in (("first", first), ("second", second)):
            if status := driver.wait():
                tally.notes[f"the {name} ended with {status}: {_end(run)}"] += 1
        _finish(run, tally)
        _judge(ground, tally, run)


def remote_calls(ground: Ground, tally: Tally, faults: int) -> None:
    """A quarter of the requests that hand out tasks, and of the answers, get lost: up to seventy faults to a run."""
    for _ in range(faults):
        run = _fresh(ground)
        if status := Driver(run, RAY_testing_rpc_failure=json.dumps(_RPC)).wait():
            tally.notes[f"the driver ended with {status}: {_end(run)}"] += 1
            _finish(run, tally)
        tally.faults += 1
        _judge(ground, tally, run)


def trial(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL of a trial of a search; Tune repeats it, and the search proposes what it would have."""
    rng = ground.rng(tally.case)
    truth = Truth(ground, _search, with_ray=True)
    for _ in range(faults):
        run = ground.fresh()
        _search(run.study)
        driver = Driver(run)
        if driver.until(lambda driver=driver: _worker(driver, "ray::ImplicitFunc", "ray::run_trial")):
            time.sleep(float(rng.uniform(0, 3)))
            victim = _worker(driver, "ray::ImplicitFunc", "ray::run_trial")
            if victim is not None:
                os.kill(victim, signal.SIGKILL)
                tally.faults += 1
        if status := driver.wait():
            tally.notes[f"the driver ended with {status}: {_end(run)}"] += 1
            _finish(run, tally)
        compare(tally, run, (0, 0), truth=truth)
        run.drop()


def _search(study: dict[str, Any]) -> None:
    _lengthen(study)
    study["nuisance"] = {"mae.lr": {"loguniform": [1e-3, 4e-3]}}
    study["search"] = {"trials": 3, "objective": "knn.balanced_accuracy@2"}


def group(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL of one of two workers that train together; the group starts anew and goes on from the checkpoint."""
    rng = ground.rng(tally.case)
    for _ in range(faults):
        run = _fresh(ground)
        run.study["resources"] = {"workers": 2}
        driver = Driver(run)
        if driver.until(lambda driver=driver, run=run: any(run.root.glob("artifacts/checkpoints/*"))):
            time.sleep(float(rng.uniform(0, 2)))
            victim = _worker(driver, "ray::RayTrainWorker", "ray::TrainWorker")
            if victim is not None:
                os.kill(victim, signal.SIGKILL)
                tally.faults += 1
        if status := driver.wait():
            tally.notes[f"the driver ended with {status}: {_end(run)}"] += 1
            _finish(run, tally)

        def same(method: str, row: Any, undisturbed: Any) -> bool:
            return row["status"] == "ok" and abs(row["accuracy"] - undisturbed["accuracy"]) < 0.1  # rounding

        _judge(ground, tally, run, same)


RAY_CASES: dict[str, Callable[[Ground, Tally, int], None]] = {
    "ray_driver_killed": _signalled(signal.SIGKILL, 0.0),
    "ray_driver_terminated": _signalled(signal.SIGTERM, 10.0),
    "ray_task_killed": task,
    "ray_trial_killed": trial,
    "ray_two_drivers": two_drivers,
    "ray_remote_calls": remote_calls,
    "ray_raylet_killed": raylet,
    "ray_node_drained": drained,
    "ray_head_killed": head,
    "ray_group_worker_killed": group,
}
