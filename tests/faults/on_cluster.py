"""Faults of the nodes of a cluster: of a raylet, of the head, of a node that is drained as on a spot notice."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from tests.faults.ground import Ground, Tally
from tests.faults.moments import driven, finish, judge, reached, runs, truth
from tests.faults.nodes import ROOT, Cluster, Driver, Node, cluster, environment

NOTICE = 5  # seconds from the notice to the end of the node
_MOST_WAIT = 90.0  # seconds within which the driver of a lost head should have ended


def raylet(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL of the raylet of the only worker node; another node comes instead."""
    _worker(ground, tally, faults, lambda made, node: node.kill_raylet())


def drained(ground: Ground, tally: Tally, faults: int) -> None:
    """The only worker node is drained, as on a spot notice, another comes, and it is killed when its time is up."""
    _worker(ground, tally, faults, lambda made, node: drain(made))


def drain(made: Cluster) -> None:
    """Gives notice to the worker node that came last.

    Raises:
        RuntimeError: Ray did not take the request.
    """
    command = [sys.executable, "-m", "tests.faults.drain", made.address, str(made.worker.name), str(NOTICE)]
    variables = environment(made.run, made.worker.temporary)
    found = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=600)
    if found.returncode:
        raise RuntimeError(f"the node could not be drained: {found.stdout[-500:]} {found.stderr[-1000:]}")


def _worker(ground: Ground, tally: Tally, faults: int, harm: Callable[[Cluster, Node], None]) -> None:
    rng = ground.rng(tally.case)
    for run, another in runs(ground, tally, faults):
        with cluster(run) as made, driven(run, tally, "--address", made.address) as driver:
            while another() and reached(rng, driver, truth(ground)):
                struck = made.worker
                harm(made, struck)
                tally.faults += 1
                made.add()
                time.sleep(NOTICE)
                struck.kill()
        judge(ground, tally, run)


def head(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL of everything on the head: that cluster is lost, the same command on this machine goes on."""
    rng = ground.rng(tally.case)
    for run, _ in runs(ground, tally, faults, most=1):
        with cluster(run) as made, Driver(run, "--address", made.address) as driver:
            if reached(rng, driver, truth(ground)):
                made.head.kill()
                tally.faults += 1
            lost = time.monotonic()
            driver.until(lambda lost=lost: time.monotonic() - lost > _MOST_WAIT)
            ended = driver.process.poll() is not None
            said = "ended by itself" if ended else f"did not end within {_MOST_WAIT:.0f} s and was killed"
            tally.notes[f"the driver of the lost cluster {said}"] += 1
        finish(run, tally)
        judge(ground, tally, run)


CASES: dict[str, Callable[[Ground, Tally, int], None]] = {
    "ray_raylet_killed": raylet,
    "ray_node_drained": drained,
    "ray_head_killed": head,
}
