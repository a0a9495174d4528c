"""What every case stands on: the undisturbed run, a results folder to disturb, and the comparison of the two."""

from __future__ import annotations

import copy
import resource
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.processes import ask, start, wait
from tests.faults.study import STUDY, Patch, look, run

Change = Callable[[dict[str, Any]], None]


@dataclass
class Tally:
    """One case: what was injected, and what became of the rows."""

    case: str
    runs: int = 0
    faults: int = 0
    rows: int = 0  # expected, over all runs
    lost: int = 0
    duplicated: int = 0
    different: int = 0  # values other than undisturbed
    steps: int = 0  # executed, of training
    steps_needed: int = 0
    scored: int = 0  # rows
    scored_needed: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    skipped: str = ""

    @property
    def passed(self) -> bool:
        return not (self.lost or self.duplicated or self.different)


class Ground:
    """A folder of its own for a bench: runs, logs, and the undisturbed results that all cases are compared with."""

    def __init__(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-faults-"))
        self.seed, self._number = seed, 0
        self._truths: dict[Change, Truth] = {}

    def rng(self, case: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, *case.encode()])

    @cached_property
    def truth(self) -> Truth:
        return Truth(self)

    def truth_of(self, change: Change, finish: Callable[[Run], None] | None = None) -> Truth:
        """The undisturbed run of a study that is changed so; made once."""
        if change not in self._truths:
            self._truths[change] = Truth(self, change, finish)
        return self._truths[change]

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def fresh(self) -> Run:
        """A results folder without anything in it."""
        self._number += 1
        return Run(self, self.folder / f"run{self._number}")

    def finished(self) -> Run:
        """A copy of the undisturbed results."""
        found = self.fresh()
        shutil.copytree(self.truth.run.root, found.root)
        return found


class Run:
    """One results folder with the journal and the log of what was done in it."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        folder.mkdir()
        self.ground, self.folder = ground, folder
        self.root, self.log, self.journal = folder / "results", folder / "log", folder / "journal"
        self.study: dict[str, Any] = copy.deepcopy(STUDY)

    def start(self, *patches: Patch) -> int:
        """Starts the runner in a process of its own; returns its id."""
        return start(self.log, run, self.study, self.root, self.journal, patches)

    def finish(self, seconds: float = 900.0) -> None:
        """Runs undisturbed until it is done.

        Raises:
            RuntimeError: it failed.
            TimeoutError: it took longer than so many seconds.
        """
        if wait(self.start(), seconds):
            raise RuntimeError(f"an undisturbed run failed: {self.log.read_text()[-2000:]}")

    def look(self) -> dict[str, Any]:
        return ask(self.log.with_name("look"), look, self.study, self.root)

    def done(self) -> tuple[int, int]:
        """Training steps and rows scored in this folder so far."""
        said = self.journal.read_bytes() if self.journal.exists() else b""
        return said.count(b"s"), said.count(b"r")

    def drop(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class Truth:
    """The undisturbed run of the study.

    Args:
        change: of the study.
        finish: how it is run, where not in a process of its own without Ray.
    """

    def __init__(
        self, ground: Ground, change: Change | None = None, finish: Callable[[Run], None] | None = None
    ) -> None:
        self.run = ground.fresh()
        if change is not None:
            change(self.run.study)
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        (finish or Run.finish)(self.run)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.seconds = now.ru_utime + now.ru_stime - began.ru_utime - began.ru_stime  # of the CPU
        self.seen = self.run.look()
        self.steps, self.scored = self.run.done()
        if sorted(self.seen["keys"]) != sorted(self.seen["expected"]):
            raise RuntimeError("the undisturbed run itself is not complete")


def compare(
    tally: Tally,
    run: Run,
    needed: tuple[int, int],
    same: Callable[[str, Any, Any], bool] | None = None,
    truth: Truth | None = None,
) -> None:
    """Adds one finished run to the tally.

    Args:
        needed: training steps and rows that the run had to do without a disturbance.
        same: of method, row and undisturbed row: whether their values are the same; None: bit for bit.
        truth: what to compare with; None: the study as it is.
    """
    truth, seen = truth or run.ground.truth, run.look()
    tally.runs += 1
    tally.rows += len(truth.seen["expected"])
    tally.lost += len(set(truth.seen["expected"]) - set(seen["keys"]))
    tally.duplicated += (
        len(seen["keys"]) - len(set(seen["keys"])) + len(set(seen["keys"]) - set(truth.seen["expected"]))
    )
    for key, row in seen["rows"].items():
        undisturbed = truth.seen["rows"].get(key)
        if undisturbed is not None:
            tally.different += row != undisturbed if same is None else not same(row["method"], row, undisturbed)
    if seen["damaged"]:
        tally.different += len(seen["damaged"])
        tally.notes["damaged fragments left"] += len(seen["damaged"])
    steps, scored = run.done()
    tally.steps, tally.scored = tally.steps + steps, tally.scored + scored
    tally.steps_needed, tally.scored_needed = tally.steps_needed + needed[0], tally.scored_needed + needed[1]


def pick(rng: np.random.Generator, found: Sequence[Path]) -> Path:
    """One of these files."""
    if not found:
        raise RuntimeError("there is nothing to damage: the case no longer fits the store")
    return sorted(found)[int(rng.integers(len(found)))]


def damage(rng: np.random.Generator, path: Path) -> str:
    """Cuts a file short, or flips one of its bits; says which."""
    content = bytearray(path.read_bytes())
    if rng.random() < 0.5:
        path.write_bytes(content[: int(rng.integers(len(content)))])
        return "cut short"
    place = int(rng.integers(len(content)))
    content[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    return "bit flipped"
