"""Progress people can see: a line in the terminal, a small file for the dashboard."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from bench.store.files import write_json

_PLAIN_EVERY = 10.0  # seconds between lines where nothing can be redrawn, as in a log file


@dataclass
class Counts:
    """Where a study stands: pretrainings and trials finished of those known so far."""

    total: int
    done: int = 0
    failed: int = 0
    trials: int = 0
    trials_done: int = 0
    rows: int = 0
    best: str = ""
    state: str = "running"  # running, finished, interrupted


class Progress:
    """Counts trials and pretrainings as they finish. Safe to call from several threads."""

    def __init__(self, console: Console, path: Path, study: str, counts: Counts) -> None:
        self._console = console
        self._path = path
        self._study = study
        self.counts = counts
        self._began = time.time()  # for people; what is measured is measured on a clock that nobody sets
        self._origin = time.monotonic()
        self._lock = threading.Lock()
        self._said = 0.0
        self._weights = _Pace(counts)
        self._bars = Bars(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._trials = self._bars.add_task("search ", total=counts.trials, note="", visible=counts.trials > 0)
        self._units = self._bars.add_task("entrants", total=counts.total, note="")

    def __enter__(self) -> Progress:
        self._bars.start()
        self._write()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self.counts.state = "finished" if kind is None else "interrupted"
        self._write()
        self._bars.stop()

    def trial(self, label: str, objective: float | None) -> None:
        """One trial of a search is on record."""
        with self._lock:
            self.counts.trials_done += 1
            what = "diverged or pruned" if objective is None else f"{objective:.3f}"
            self._redraw(f"{label}: {what}")

    def unit(self, label: str, status: str, rows: int) -> None:
        """One pretraining was evaluated."""
        with self._lock:
            self.counts.done += 1
            self.counts.rows += rows
            self.counts.failed += status == "failed"
            self._redraw(f"{label}: {rows} rows" if status == "ok" else f"{label}: {status}")

    def log(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _redraw(self, note: str) -> None:
        counts = self.counts
        elapsed = time.monotonic() - self._origin
        left = self._weights.seconds_left(counts, elapsed)
        suffix = f"about {_minutes(left)} left" if left is not None else ""
        self._bars.update(self._trials, completed=counts.trials_done, total=counts.trials)
        self._bars.update(self._units, completed=counts.done, total=counts.total, note=f"{suffix}  {note}")
        if not self._console.is_terminal and elapsed - self._said > _PLAIN_EVERY:
            self._said = elapsed
            self.log(
                f"  {elapsed:4.0f} s  search {counts.trials_done}/{counts.trials}, "
                f"entrants {counts.done}/{counts.total}  {suffix}  {note}"
            )
        self._write()

    def _write(self) -> None:
        if self.counts.state == "finished":
            self._path.unlink(missing_ok=True)
            return
        left = self._weights.seconds_left(self.counts, time.monotonic() - self._origin)
        state = asdict(self.counts) | {"study": self._study, "started": self._began, "updated": time.time()}
        with contextlib.suppress(OSError):  # a full disk: what is only looked at must not end the study
            write_json(self._path, state | {"seconds_left": left})


class _Pace:
    """Time left, from the pace so far: a trial and a pretraining count alike."""

    def __init__(self, counts: Counts) -> None:
        self._start = counts.done + counts.trials_done

    def seconds_left(self, counts: Counts, elapsed: float) -> float | None:
        done = counts.done + counts.trials_done - self._start
        left = counts.total + counts.trials - counts.done - counts.trials_done
        return None if done < 3 else elapsed / done * left


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
