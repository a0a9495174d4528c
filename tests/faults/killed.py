"""Processes that die: at random moments, around a file operation, told to, in pairs, with a clock that jumps."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from types import ModuleType
from typing import Any

import numpy as np

import bench.engine.evaluate as evaluate_module
import bench.engine.rows as rows_module
import bench.store.trials as trials_module
import bench.study.manifest as manifest_module
from bench.store.trials import read_trials, write_trial
from tests.faults.ground import Ground, Run, Tally, compare
from tests.faults.processes import ask, kill_after, reaches, start, wait
from tests.faults.study import Patch

# What changes a results folder: each is a moment before which, or behind which, a process may die.
_OPERATIONS: tuple[tuple[Any, str], ...] = (
    (os, "replace"),
    (os, "rename"),
    (os, "unlink"),
    (os, "fsync"),
    (os, "rmdir"),
    (tempfile, "mkstemp"),
    (tempfile, "mkdtemp"),
)


def at_moments(ground: Ground, tally: Tally, faults: int, number: int = signal.SIGKILL) -> None:
    """Signals at random moments of a study, run again after each, until it is done."""
    rng, truth = ground.rng(tally.case), ground.truth
    while tally.faults < faults:
        run, before = ground.fresh(), tally.faults
        while tally.faults < faults and tally.faults - before < 12:
            process = run.start()
            if not kill_after(process, float(rng.uniform(0, 0.7 * truth.seconds)), number):
                break
            tally.faults += 1
        run.finish()
        compare(tally, run, (truth.steps, truth.scored))
        run.drop()


def terminated(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGTERM, and SIGKILL where a second later something is left."""
    at_moments(ground, tally, faults, signal.SIGTERM)


def around_operations(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL right before or right behind a file operation: in the middle of a write of every kind."""
    rng, truth = ground.rng(tally.case), ground.truth
    while tally.faults < faults:
        run, before = ground.fresh(), tally.faults
        while tally.faults < faults and tally.faults - before < 15:
            if wait(run.start(_dies_at(int(rng.integers(1, 40)), bool(rng.integers(2))))) == 0:
                break
            tally.faults += 1
        run.finish()
        compare(tally, run, (truth.steps, truth.scored))
        run.drop()


def _dies_at(operation: int, behind: bool) -> Patch:
    left = [operation]

    def wrapped(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0 and not behind:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = call(*arguments, **more)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return counted

    def patch() -> None:
        for module, name in _OPERATIONS:
            setattr(module, name, wrapped(getattr(module, name)))

    return patch


def trial_records(ground: Ground, tally: Tally, faults: int) -> None:
    """SIGKILL of a process that writes the records of a search one after another, at random moments."""
    rng = ground.rng(tally.case)
    while tally.faults < faults:
        run, count = ground.fresh(), 40
        while tally.faults < faults:
            if not kill_after(start(run.log, _write_trials, run, count), float(rng.uniform(0, 0.25))):
                break
            tally.faults += 1
        if wait(start(run.log, _write_trials, run, count)):
            raise RuntimeError(run.log.read_text()[-2000:])
        numbers, values = ask(run.log, _trials_kept, run)
        tally.runs, tally.rows = tally.runs + 1, tally.rows + count
        tally.lost += len(set(range(count)) - set(numbers))
        tally.duplicated += len(numbers) - len(set(numbers))
        tally.different += sum(value != number / count for number, value in zip(numbers, values, strict=True))
        tally.scored, tally.scored_needed = tally.scored + run.done()[1], tally.scored_needed + count
        run.drop()


def _write_trials(run: Run, count: int) -> None:
    """Slots that have no record are filled, as a search does."""
    done = {record["number"] for records in read_trials(run.root).values() for record in records}
    with run.journal.open("ab", buffering=0) as journal:
        for number in sorted(set(range(count)) - done):
            write_trial(
                run.root,
                search_key="search",
                number=number,
                method="mae",
                setting={},
                parameters={"lr": number / count},
                objective="linear.balanced_accuracy@2",
                state="complete",
                value=number / count,
                seconds=1.0,
            )
            journal.write(b"r")


def _trials_kept(run: Run) -> tuple[list[int], list[float]]:
    records = [record for records in read_trials(run.root).values() for record in records]
    return [record["number"] for record in records], [record["value"] for record in records]


def at_once(ground: Ground, tally: Tally, faults: int) -> None:
    """Two runs of one study in one results folder, started up to half a run apart; every other time one is killed."""
    rng, truth = ground.rng(tally.case), ground.truth
    for number in range(faults):
        run = ground.fresh()
        first = run.start()
        reaches(first, float(rng.uniform(0, 0.5 * truth.seconds)))
        second = run.start()
        tally.faults += 1
        if number % 2:
            kill_after(first, float(rng.uniform(0, 0.6 * truth.seconds)))
        elif status := wait(first):
            tally.notes[f"the first ended with {status}"] += 1
            tally.notes[_last_line(run)] += 1
        if status := wait(second):
            tally.notes[f"the second ended with {status}"] += 1
            tally.notes[_last_line(run)] += 1
        run.finish()
        compare(tally, run, (truth.steps, truth.scored))
        run.drop()


def _last_line(run: Run) -> str:
    return (run.log.read_text().strip().splitlines() or [""])[-1][:200]


def clock(ground: Ground, tally: Tally, faults: int) -> None:
    """The clock jumps, most often back, between the sittings of a study that is killed, and so do times of files."""
    rng, truth = ground.rng(tally.case), ground.truth
    while tally.faults < faults:
        run, before = ground.fresh(), tally.faults
        while tally.faults < faults and tally.faults - before < 6:
            offset = float(rng.uniform(-3e7, 1e6))
            tally.faults += 1
            if not kill_after(run.start(_set_clock(offset)), float(rng.uniform(0.1, 0.7) * truth.seconds)):
                break
            _set_times(rng, run)
        run.finish()
        compare(tally, run, (truth.steps, truth.scored))
        run.drop()


def _set_times(rng: np.random.Generator, run: Run) -> None:
    for path in sorted(run.root.rglob("*")):
        if rng.random() < 0.5:
            moment = time.time() + float(rng.uniform(-3e7, 3e7))
            os.utime(path, (moment, moment))


def _set_clock(offset: float) -> Patch:
    """A process whose clock is off by so many seconds: what it calls now, and the files it touches."""

    def patch() -> None:
        now = time.time
        time.time = lambda: now() + offset
        for module in (evaluate_module, rows_module, trials_module, manifest_module):
            _shift(module)

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime.fromtimestamp(time.time(), tz or UTC)

    def _shift(module: ModuleType) -> None:
        module.datetime = Shifted

    return patch
