"""Pretrainings as Ray tasks: handed out as they become known, gathered as they finish."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

import ray
from ray.exceptions import RayError, RayTaskError

from bench.engine import work
from bench.engine.outcome import Outcome
from bench.engine.site import Site
from bench.store.secrets import redacted
from bench.study.plan import Pretraining, Unit

MAX_RETRIES = 3  # of a task whose process or node died; an error of ours is reported, not tried again
_POLL_SECONDS = 0.2


class Tasks:
    """Runs pretrainings on the cluster, and tells of each that ends from a thread of its own.

    Leaving the block by an exception cancels what still runs; the store keeps what was finished.
    """

    def __init__(self, site: Site, receive: Callable[[Outcome], None], slots: int) -> None:
        """Starts nothing yet.

        Args:
            receive: called with each outcome, from the gathering thread.
            slots: worker groups at once; tasks in their own process are queued by Ray instead.
        """
        self._site = site
        self._receive = receive
        self._slots = slots if site.resources.workers else None
        self._waiting: deque[tuple[Pretraining, tuple[Unit, ...]]] = deque()
        self._pending: dict[ray.ObjectRef, str] = {}
        self._failed: list[Outcome] = []
        self._lock = threading.Lock()
        self._broken: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._gather, name="bench-tasks", daemon=True)
        self._remote = ray.remote(work.units).options(name="run_units", max_retries=MAX_RETRIES, **work.resources(site))

    def __enter__(self) -> Tasks:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=5)
        if kind is not None:
            for reference in list(self._pending):
                ray.cancel(reference, force=True)

    def submit(self, pretraining: Pretraining, units: Sequence[Unit]) -> None:
        """Schedules the missing units of one pretraining as one task."""
        with self._lock:
            self._waiting.append((pretraining, tuple(units)))
            self._launch()

    def _launch(self) -> None:
        """Hands waiting pretrainings to Ray, as many as there are slots. The lock is held."""
        while self._waiting and (self._slots is None or len(self._pending) < self._slots):
            pretraining, units = self._waiting.popleft()
            self._pending[self._remote.remote(self._site, pretraining, units)] = pretraining.label

    def wait(self) -> tuple[Outcome, ...]:
        """Blocks until every task has ended; returns those that failed.

        Raises:
            BaseException: what ended the gathering thread, which would otherwise be waited for without end.
        """
        while True:
            if self._broken is not None:
                raise self._broken
            with self._lock:
                if not self._pending:
                    return tuple(self._failed)
            self._stop.wait(_POLL_SECONDS)

    def _gather(self) -> None:
        try:
            self._gather_all()
        except BaseException as error:
            self._broken = error

    def _gather_all(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                references = list(self._pending)
            if not references:
                self._stop.wait(_POLL_SECONDS)
                continue
            ready, _ = ray.wait(references, timeout=_POLL_SECONDS)
            for reference in ready:
                self._take(reference)

    def _take(self, reference: ray.ObjectRef) -> None:
        label = self._pending[reference]
        try:
            outcome = ray.get(reference)
        except RayError as error:
            outcome = Outcome(label, "failed", _why(error), 0, 0.0)
        if outcome.status == "failed":
            self._failed.append(outcome)
        self._receive(outcome)
        with self._lock:
            del self._pending[reference]
            self._launch()


def _why(error: RayError) -> str:
    """One line: what the task raised, or what Ray says became of it."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    said = (redacted(str(cause)).strip().splitlines() or [""])[0]
    return f"{type(cause).__name__}: {said}" if said else type(cause).__name__
