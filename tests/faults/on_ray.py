"""Faults under Ray on one machine: of the driver, of tasks, of trials, of workers of a group, of remote calls."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.faults.ground import Ground, Run, Tally, Truth, compare
from tests.faults.journal import last_at_work
from tests.faults.moments import begun, driven, finish, judge, lengthen, reached, runs, truth
from tests.faults.nodes import Driver
from tests.faults.tree import command, descendants

TASK = "ray::run_units"
WAITING = ("ray::Pool", "ray::ImplicitFunc")
_IDLE = "ray::IDLE"
GRACE = 10.0  # seconds from SIGTERM to SIGKILL
_HALF_EACH = {"req_failure_prob": 25, "resp_failure_prob": 25}
LOST_CALLS = json.dumps(
    {
        "CoreWorkerService.grpc_client.PushTask": {"num_failures": 50, **_HALF_EACH},
        "NodeManagerService.grpc_client.RequestWorkerLease": {"num_failures": 20, **_HALF_EACH},
    }
)


def signalled(number: int) -> Callable[[Ground, Tally, int], None]:
    """A case: the driver gets this signal, is started again, up to three times, and then left to finish."""

    def case(ground: Ground, tally: Tally, faults: int) -> None:
        rng = ground.rng(tally.case)
        for run, another in runs(ground, tally, faults):
            while another():
                with Driver(run) as driver:
                    if not begun(rng, driver, truth(ground)):
                        break
                    tally.notes["ended by itself" if driver.end(number, GRACE) else "SIGKILL was needed"] += 1
                    tally.faults += 1
            finish(run, tally)
            judge(ground, tally, run)

    return case


def task(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL of a process that pretrains or evaluates; the driver must see to it by itself."""
    rng = ground.rng(tally.case)
    for run, another in runs(ground, tally, faults):
        with driven(run, tally) as driver:
            while another() and strike(rng, driver, truth(ground)):
                tally.faults += 1
        judge(ground, tally, run)


def group(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL of one of two workers that train together; the group starts anew and goes on from the checkpoint."""
    rng = ground.rng(tally.case)

    def same(method: str, row: Any, undisturbed: Any) -> bool:
        if method == "pixels":
            return bool(row == undisturbed)
        return row["status"] == "ok" and abs(row["accuracy"] - undisturbed["accuracy"]) < 0.1  # rounding

    for run, another in runs(ground, tally, faults):
        run.study["resources"] = {"workers": 2}
        with driven(run, tally) as driver:
            while another() and strike(rng, driver, truth(ground)):
                tally.faults += 1
        judge(ground, tally, run, same, workers=2)


def searched(kill: Callable[[Driver], bool]) -> Callable[[Ground, Tally, int], None]:
    """A case: SIGKILL in a search; Tune repeats the trial, and the search proposes what it would have."""

    def case(ground: Ground, tally: Tally, faults: int) -> None:
        rng = ground.rng(tally.case)
        undisturbed = ground.truth_of(search, _on_ray)
        for run, another in runs(ground, tally, faults, most=2):  # as often as Tune repeats a trial
            search(run.study)
            with driven(run, tally) as driver:
                while another() and strike(rng, driver, undisturbed, kill):
                    tally.faults += 1
            compare(tally, run, (undisturbed.steps, undisturbed.scored), truth=undisturbed)
            run.drop()

    return case


def search(study: dict[str, Any]) -> None:
    """Three trials before the method is trained."""
    lengthen(study)
    study["nuisance"] = {"mae.lr": {"loguniform": [1e-3, 4e-3]}}
    study["search"] = {"trials": 3, "objective": "knn.balanced_accuracy@2"}


def _on_ray(run: Run) -> None:
    with Driver(run) as driver:
        if driver.wait():
            raise RuntimeError(f"an undisturbed run failed: {run.log.read_text()[-2000:]}")


def _kill_at_work(driver: Driver) -> bool:
    """SIGKILL of the process that is at work."""
    pid = last_at_work(driver.run.journal)
    if pid is None or not command(pid).startswith("ray::") or command(pid).startswith(_IDLE):
        return False
    os.kill(pid, signal.SIGKILL)
    return True


def _kill_waiting(driver: Driver) -> bool:
    """SIGKILL of a process that waits for a trial, or of the one that hands the trials out."""
    waiting = [pid for pid in descendants(driver.process.pid) if command(pid).startswith(WAITING)]
    if not waiting:
        return False
    os.kill(waiting[driver.run.done()[0] % len(waiting)], signal.SIGKILL)
    return True


def strike(
    rng: np.random.Generator, driver: Driver, truth: Truth, kill: Callable[[Driver], bool] = _kill_at_work
) -> bool:
    """Kills at a random moment; False where all work was done before."""
    return reached(rng, driver, truth) and driver.until(lambda: kill(driver))


def two_drivers(ground: Ground, tally: Tally, faults: int) -> None:
    """Two drivers, each with a cluster of its own, on one study and one results folder."""
    rng = ground.rng(tally.case)
    for run, _ in runs(ground, tally, faults, most=1):
        with Driver(run) as first:
            time.sleep(float(rng.uniform(0, 8)))
            with Driver(run) as second:
                tally.faults += 1
                for driver in (first, second):
                    if status := driver.wait():
                        tally.notes[f"one of the two ended with {status}"] += 1
        finish(run, tally)
        judge(ground, tally, run)


def remote_calls(ground: Ground, tally: Tally, faults: int) -> None:
    """A quarter of the requests that hand out tasks get lost, and of the answers: up to 70 faults, counted as one."""
    for run, _ in runs(ground, tally, faults, most=1):
        tally.faults += 1
        with driven(run, tally, RAY_testing_rpc_failure=LOST_CALLS):
            pass
        judge(ground, tally, run)


CASES: dict[str, Callable[[Ground, Tally, int], None]] = {
    "ray_driver_killed": signalled(signal.SIGKILL),
    "ray_driver_terminated": signalled(signal.SIGTERM),
    "ray_task_killed": task,
    "ray_trial_killed": searched(_kill_at_work),
    "ray_waiting_killed": searched(_kill_waiting),
    "ray_group_worker_killed": group,
    "ray_two_drivers": two_drivers,
    "ray_remote_calls": remote_calls,
}
