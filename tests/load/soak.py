"""A soak: one study for half an hour, a fault in every minute, then compared with what nobody disturbed.

The study grows: whenever it is done before the time is up, it gets more seeds. Behind the last fault it is run until it
is done, and once more without Ray, which computes again whatever was found damaged.
"""

from __future__ import annotations

import copy
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.ground import Ground, Tally, Truth, compare
from tests.faults.study import STUDY
from tests.load.field import Field, left_behind, room_mb

EPOCHS = 10
CPUS = 2  # of the worker node
_LONG = 7200.0  # seconds that a run without Ray may take
_MOST_STALLED = 5
_STALLED = 300.0  # seconds without a step or a row behind which a driver is said to hang


@dataclass(frozen=True)
class Soak:
    """How long, and how often a fault."""

    minutes: float = 30.0
    every: float = 60.0  # seconds; within each of them, at a random moment, one fault
    seeds: int = 10  # of the study at first, and how many it gains whenever it is done
    seed: int = 0
    only: Sequence[str] | None = None  # kinds of faults


def run(soak: Soak) -> dict[str, Any]:
    """Disturbs, finishes, compares."""
    ground = Ground(soak.seed)
    try:
        return _Sitting(soak, ground).run()
    finally:
        ground.close()


class _Sitting:
    def __init__(self, soak: Soak, ground: Ground) -> None:
        self.soak, self.ground, self.rng = soak, ground, ground.rng("soak")
        self.run_ = ground.fresh()
        self.study = self.run_.study
        self.study["methods"] = copy.deepcopy(STUDY["methods"])
        self.study["methods"]["mae"]["epochs"] = EPOCHS
        self.study["seeds"] = soak.seeds
        self.struck: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.stalled = 0
        self._progress = (-1, 0.0)  # steps and rows, and since when they are so many

    def run(self) -> dict[str, Any]:
        field = Field(self.run_, self.rng, CPUS)
        began = time.monotonic()
        try:
            self._disturb(field, began)
            disturbed = time.monotonic() - began
            self._finish(field)
        finally:
            field.end()
        return self._judge(field, disturbed, time.monotonic() - began)

    def _disturb(self, field: Field, began: float) -> None:
        kinds = list(self.soak.only or field.faults)
        for minute in range(round(self.soak.minutes * 60 / self.soak.every)):
            moment = began + (minute + float(self.rng.random())) * self.soak.every
            while time.monotonic() < moment:
                if self._drive(field) == 0:
                    self.study["seeds"] += self.soak.seeds
                time.sleep(0.05)
            kind = kinds[int(self.rng.integers(len(kinds)))]
            self._say(f"{time.monotonic() - began:6.0f} s {kind}")
            field.faults[kind]()
            self.struck[kind] += 1

    def _finish(self, field: Field) -> None:
        while self._drive(field) != 0:
            time.sleep(0.05)

    def _drive(self, field: Field) -> int | None:
        """Sees to it that a driver runs; its exit status where one has just ended."""
        status = field.go_on()
        if status is not None:
            self.statuses[status] += 1
            self._say(f"a driver ended with {status}, {self.study['seeds']} seeds")
        self._watch(field)
        return status

    def _watch(self, field: Field) -> None:
        done, now = sum(self.run_.done()), time.monotonic()
        if done != self._progress[0]:
            self._progress = (done, now)
        elif now - self._progress[1] > _STALLED:
            self.stalled += 1
            self._say(f"no progress for {_STALLED:.0f} s: {self.run_.log.read_text()[-500:]}")
            field.leave(signal.SIGKILL)
            self._progress = (done, now)
            if self.stalled >= _MOST_STALLED:
                raise RuntimeError(f"no progress in {self.stalled} sittings: {self.run_.log.read_text()[-1500:]}")

    def _judge(self, field: Field, disturbed: float, seconds: float) -> dict[str, Any]:
        sizes = {"results MB": room_mb(self.run_), **left_behind(self.run_)}
        self.run_.finish(_LONG)
        asked = copy.deepcopy(self.study)
        truth = Truth(self.ground, lambda study: study.update(asked), lambda run: run.finish(_LONG))
        tally = Tally("soak")
        compare(tally, self.run_, (truth.steps, truth.scored), truth=truth)
        return {
            "soak": vars(self.soak),
            "seconds disturbed": disturbed,
            "seconds until done": seconds,
            "faults": sum(self.struck.values()),
            "by kind": dict(sorted(self.struck.items())),
            "sittings": field.sittings,
            "exit statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "seeds": self.study["seeds"],
            "rows": tally.rows,
            "lost": tally.lost,
            "duplicated": tally.duplicated,
            "changed": tally.different,
            "stalled": self.stalled,
            "steps": f"{tally.steps:,} for {tally.steps_needed:,}",
            "rows scored": f"{tally.scored:,} for {tally.scored_needed:,}",
            "notes": dict(field.notes + tally.notes),
            **sizes,
        }

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
