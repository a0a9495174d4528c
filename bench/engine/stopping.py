"""SIGTERM and Ctrl-C of a run: one line that says how to go on, and an end within seconds whatever Ray does.

Every file of the results is written whole or not at all, so a process may end at any moment. What is here is for the
people who read the screen, and for those who wait for the process.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS = 3.0  # from the signal to the end of the process
_NAMES = {signal.SIGINT: "by Ctrl-C", signal.SIGTERM: "by SIGTERM"}
_MOMENT = 0.2  # until the thread that hears of signals has said so; a library's handler may be first
_SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it

_active: list[_Stop] = []


@contextlib.contextmanager
def stoppable(results: object, seconds: float = SECONDS) -> Iterator[None]:
    """In this block SIGTERM and Ctrl-C end the process: with one line, and with status 143 or 130.

    The first of them interrupts the block as Ctrl-C does, so that what it opened is closed. From then on nothing but
    that line reaches standard error: Ray tells of the end of each of its processes. A block that is not through after
    so many seconds is left behind. Does nothing outside the main thread, where no signal arrives.

    Args:
        results: where they lie, for people.
        seconds: that closing may take.

    Raises:
        SystemExit: the block was stopped.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = _Stop(f"nothing is lost, what was finished is in {results}; to go on: {same_command(sys.argv)}", seconds)
    _active.append(stop)
    try:
        with stop.armed():
            try:
                yield
            except BaseException as error:  # whatever the interrupted block made of it
                if not stop.heard(_MOMENT if isinstance(error, SystemExit) else 0.0):
                    raise
        if stop.number is not None:
            stop.say()
            raise SystemExit(stop.status)
    finally:
        _active.remove(stop)


def rearm() -> None:
    """Takes the signals back from a library that has set handlers of its own; does nothing outside `stoppable`."""
    for stop in _active:
        stop.listen()


def same_command(arguments: Sequence[str]) -> str:
    """What to type again: the arguments of this process as a shell reads them."""
    name = Path(arguments[0]).name
    front = ["python", "-m", f"bench.{name[:-3]}"] if name in ("run.py", "cli.py") else [name]
    return shlex.join([*front, *arguments[1:]])


class _Stop:
    """The handlers of one block, and a thread that hears of a signal even while the main thread is deep in C++."""

    def __init__(self, words: str, seconds: float) -> None:
        self.number: int | None = None  # the first signal
        self._words, self._seconds = words, seconds
        self._lock, self._heard = threading.Lock(), threading.Event()
        self._interrupted = self._said = False
        self._stream = sys.stderr.fileno() if _is_file(sys.stderr) else 2
        self._error = os.dup(self._stream)

    @property
    def status(self) -> int:
        return 128 + (self.number or 0)

    @contextlib.contextmanager
    def armed(self) -> Iterator[None]:
        """Listens; puts the former handlers back, unless the process is to end."""
        before = {number: signal.getsignal(number) for number in _NAMES}
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._hear, args=(reading,), name="bench-stop", daemon=True).start()
        self.listen()
        try:
            yield
        finally:
            if self.number is None:
                for number, handler in before.items():
                    signal.signal(number, handler)
                signal.set_wakeup_fd(woken)
                os.close(writing)
                os.close(self._error)

    def heard(self, seconds: float) -> bool:
        """Whether a signal came, or comes in so many seconds."""
        return self._heard.wait(seconds)

    def listen(self) -> None:
        for number in _NAMES:
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, as soon as it is back in Python; signals after the first are ignored."""
        self._silence(number)
        if not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt

    def _hear(self, reading: int) -> None:
        """In a thread of its own, as soon as the signal arrives."""
        while heard := os.read(reading, 1):
            if heard[0] not in _NAMES:
                continue
            self._silence(heard[0])
            time.sleep(self._seconds)
            self.say()
            if os.isatty(1):
                os.write(1, _SHOW_CURSOR)
            os._exit(self.status)
        os.close(reading)

    def _silence(self, number: int) -> None:
        """Notes the first signal, and sends standard error to nowhere from here on."""
        if self.number is None:
            self.number = number
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream)
            self._heard.set()

    def say(self) -> None:
        """The line, once."""
        with self._lock:
            if self._said:
                return
            self._said = True
            line = f"stopped {_NAMES[signal.Signals(self.number or 0)]}: {self._words}\n"
            os.write(self._error, (b"\n" if os.isatty(self._error) else b"") + line.encode())


def _is_file(stream: Any) -> bool:
    try:
        return bool(stream.fileno() >= 0)
    except (AttributeError, OSError, ValueError):
        return False
