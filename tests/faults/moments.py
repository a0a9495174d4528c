"""Where in a study that Ray runs a fault strikes: at a random step or row of the work that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tests.faults.ground import Ground, Run, Tally, Truth, compare
from tests.faults.nodes import Driver

EPOCHS = 10  # 50 steps: long enough for a process to be hit
MOST = 3  # faults to a run: as often as Ray repeats a task whose process died
_STARTING = 8.0  # seconds within which a driver that is to be hit early is hit


def lengthen(study: dict[str, Any]) -> None:
    """Two methods, of which one trains for a while."""
    study["methods"] = {"pixels": {}, "mae": {**study["methods"]["mae"], "epochs": EPOCHS}}


def truth(ground: Ground) -> Truth:
    """Without Ray and undisturbed: where a task ran makes no difference to its bits."""
    return ground.truth_of(lengthen)


def runs(ground: Ground, tally: Tally, faults: int, most: int = MOST) -> Iterator[tuple[Run, Callable[[], bool]]]:
    """Fresh runs until the faults are used up, each with a question: may another fault strike it?"""
    while tally.faults < faults:
        run, before = ground.fresh(), tally.faults
        lengthen(run.study)
        yield run, lambda before=before: tally.faults < faults and tally.faults - before < most
        if tally.faults == before:
            raise RuntimeError(f"no fault struck: the case no longer fits the study; {end(run)}")


def reached(rng: np.random.Generator, driver: Driver, truth: Truth) -> bool:
    """Waits for a random step or row of what is left of the work; False where the driver ended first."""
    run = driver.run
    left = truth.steps + truth.scored - sum(run.done())
    goal = sum(run.done()) + int(rng.integers(1, max(2, left)))
    return driver.until(lambda: sum(run.done()) >= goal)


def begun(rng: np.random.Generator, driver: Driver, truth: Truth) -> bool:
    """As `reached`, but every fourth time it is a moment of the driver's start."""
    if rng.random() >= 0.25:
        return reached(rng, driver, truth)
    began, seconds = time.monotonic(), float(rng.uniform(0, _STARTING))
    return driver.until(lambda: time.monotonic() - began > seconds)


def finish(run: Run, tally: Tally) -> None:
    """The same command again, until it is done: once must do."""
    with Driver(run) as driver:
        if status := driver.wait():
            tally.notes[f"the last driver ended with {status}: {end(run)}"] += 1


def settle(run: Run, tally: Tally, driver: Driver) -> None:
    """Waits for a driver that is not to notice; where it ends with an error, the same command again."""
    if status := driver.wait():
        tally.notes[f"a driver ended with {status} and was started again: {end(run)}"] += 1
        finish(run, tally)


def judge(
    ground: Ground,
    tally: Tally,
    run: Run,
    same: Callable[[str, Any, Any], bool] | None = None,
    workers: int = 1,
) -> None:
    """Compares with the undisturbed run, in which no step is done by several workers at once, and drops the folder."""
    compare(tally, run, (workers * truth(ground).steps, truth(ground).scored), same, truth(ground))
    run.drop()


def end(run: Run) -> str:
    """What a driver said last."""
    return " / ".join(run.log.read_text().strip().splitlines()[-3:])[-300:]


@contextmanager
def driven(run: Run, tally: Tally, *arguments: str, **more: str) -> Iterator[Driver]:
    """A driver that is not to notice what happens to others while the block lasts; at its end the study is done."""
    with Driver(run, *arguments, **more) as driver:
        yield driver
        settle(run, tally, driver)
