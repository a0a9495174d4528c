"""Runs a target on many bad inputs: each is taken, or refused as it should be, in time and in memory."""

from __future__ import annotations

import faulthandler
import resource
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError
from bench.seeds import named_seed
from tests.fuzz.mutate import Rng

SECONDS = 10  # of one input
STUCK = 60  # of one input that does not come back to Python: the process ends with a traceback of where it is
KILOBYTES = 2 << 20  # that the process may grow by, beyond what it held at the start
_SHOWN = 20  # failures of a target that are kept in full


class SlowError(BaseException):
    """An input took too long; no handler of errors is to take it for another."""


@dataclass(frozen=True)
class Target:
    """Something that reads what others wrote.

    Attributes:
        make: an input from a source of random numbers.
        read: reads it, in a folder of its own that is kept between inputs. Returns whether it was taken; raises
            AssertionError where what it gave is wrong.
        refusals: exceptions that say properly that the input is bad.
        share: of the inputs of a whole run.
    """

    make: Callable[[Rng], Any]
    read: Callable[[Any, Path], bool]
    share: float
    refusals: tuple[type[Exception], ...] = (UserError,)


@dataclass
class Outcome:
    """What became of the inputs of one target; failures hold number, exception and the place it came from."""

    inputs: int = 0
    taken: int = 0
    refused: int = 0
    failed: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    slowest: float = 0.0
    grown_mb: float = 0.0
    failures: list[dict[str, Any]] = field(default_factory=list)

    def fail(self, number: int, error: BaseException) -> None:
        self.failed += 1
        where = [f"{Path(step.filename).name}:{step.lineno}" for step in traceback.extract_tb(error.__traceback__)]
        if len(self.failures) < _SHOWN:
            said = f"{type(error).__name__}: {str(error)[:300]}"
            self.failures.append({"number": number, "error": said, "where": where[-4:]})


def run_target(name: str, target: Target, seed: int, inputs: int, first: int = 0) -> Outcome:
    """Reads this many inputs; input number n of a seed is the same whatever comes before it."""
    outcome = Outcome(inputs=inputs)
    began, worked, start = time.perf_counter(), time.process_time(), _peak()
    previous = signal.signal(signal.SIGALRM, _too_slow)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(first, first + inputs):
                made = target.make(np.random.default_rng(named_seed(f"fuzz {name} {number}", seed)))
                _read(target, made, Path(folder), number, outcome)
                if _peak() - start > KILOBYTES:
                    outcome.fail(number, MemoryError(f"grown by {(_peak() - start) >> 10} MB"))
                    break
    finally:
        signal.signal(signal.SIGALRM, previous)
    outcome.seconds = round(time.perf_counter() - began, 1)
    outcome.cpu_seconds = round(time.process_time() - worked, 1)
    outcome.grown_mb = round((_peak() - start) / 1024, 1)
    outcome.slowest = round(outcome.slowest, 2)
    return outcome


def _read(target: Target, made: Any, folder: Path, number: int, outcome: Outcome) -> None:
    faulthandler.dump_traceback_later(STUCK, exit=True)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    began = time.perf_counter()
    try:
        if target.read(made, folder):
            outcome.taken += 1
        else:
            outcome.refused += 1
    except target.refusals as error:
        if str(error).strip() and "Traceback" not in str(error):
            outcome.refused += 1
        else:
            outcome.fail(number, error)
    except BaseException as error:  # a panic of a library in Rust is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        outcome.fail(number, error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        outcome.slowest = max(outcome.slowest, time.perf_counter() - began)


def _too_slow(*_: object) -> None:
    raise SlowError(f"more than {SECONDS} s")


def _peak() -> int:
    """The most memory that the process has held, in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
