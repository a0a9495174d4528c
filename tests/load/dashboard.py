"""A dashboard on a large store with many browsers, while a study writes into it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tests.faults.processes import kill, start, wait
from tests.load.measures import memory_mb, percentiles

ROOT = Path(__file__).parents[2]
PAGES = ("", "curves", "sweep", "runs", "claims", "returns", "export")
_FIRST, _EACH = 5000, 100  # rows of the running study: at first, and of each fragment that follows
_PATIENCE = 180.0  # seconds for one page


@dataclass(frozen=True)
class Load:
    """How large the store is, who reads it, and how often a fragment is added."""

    rows: int = 1_000_000
    fragments: int = 10_000
    compacted: bool = False
    store: Path | None = None  # one that is there already, made with the same rows and fragments; it is written to
    browsers: int = 20
    wires: bool = False  # readers without a browser, for the server alone: browsers fill the cores
    seconds: float = 300.0
    write_every: float = 10.0  # seconds; 0: nobody writes
    think: float = 5.0  # seconds that a reader looks at a page, on average
    seed: int = 0


@dataclass
class Visits:
    """What the browsers saw."""

    seconds: dict[str, list[float]] = field(default_factory=dict)  # by page
    errors: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)  # MB of the server, once a second


def run(load: Load) -> dict[str, Any]:
    """Serves the store, opens pages at random, measures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-load-")))
        store = load.store or folder / "results"
        log = folder / "log"
        # Polars is used in forks only: what has used it may not fork.
        if load.store is None and wait(start(log, _make, store, load), 7200):
            raise RuntimeError(log.read_text()[-2000:])
        stack.enter_context(_writer(log, store, load))
        address, server = stack.enter_context(_served(store))
        visits = _browse(load, address, server, _studies(store))
    return _summary(load, visits)


def _make(store: Path, load: Load) -> None:
    from bench.store.fragments import Fragments
    from benchmarks.rows import make_store

    make_store(store, load.rows, load.fragments)
    if load.compacted:
        Fragments(store, "rows").compact()


@contextmanager
def _writer(log: Path, store: Path, load: Load) -> Iterator[None]:
    """A study that is running while the block lasts; its first rows are there when the block begins."""
    if not load.write_every:
        yield
        return
    ready = log.with_name("ready")
    process = start(log, _keep_writing, store, load, ready)
    try:
        deadline = time.monotonic() + 600
        while not ready.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the writer did not begin: {log.read_text()[-1000:]}")
            time.sleep(0.1)
        yield
    finally:
        kill(process, signal.SIGTERM)


def _keep_writing(store: Path, load: Load, ready: Path) -> None:
    from bench.store.files import write_json
    from bench.store.fragments import Fragments
    from bench.store.keys import content_key
    from benchmarks.rows import SEEDS, START, STUDY_ROWS, study_rows

    number = load.rows // STUDY_ROWS + 1
    table, fragments = study_rows(number, STUDY_ROWS), Fragments(store, "rows")
    created = (START + timedelta(days=number)).isoformat()
    spec = {"study": "running", "seeds": SEEDS, "reference": ["pixels+linear"]}
    manifest = {"study_key": content_key("study", study=number), "study": "running", "spec": spec}
    manifest |= {"data": {"name": "synthetic"}, "row_keys": table["row_key"].to_list(), "created": created}
    fragments.write(table[:_FIRST])
    write_json(store / "studies" / f"{manifest['study_key']}.json", manifest)
    ready.touch()
    reader = os.getppid()
    for part in table[_FIRST:].iter_slices(_EACH):
        time.sleep(load.write_every)
        if os.getppid() != reader:  # it was killed: nobody ends this process then
            return
        fragments.write(part)


@contextmanager
def _served(store: Path) -> Iterator[tuple[str, int]]:
    """Address and process id of a dashboard."""
    from tests.dashboards.conftest import DASHBOARDS
    from tests.dashboards.test_browser import answers, until

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--server.port", str(port), "--server.headless", "true", "--server.fileWatcherType", "none"]
    command = [sys.executable, "-m", "streamlit", "run", str(DASHBOARDS / "app.py"), *options]
    process = subprocess.Popen(
        [*command, "--", "--results", str(store)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,  # browsers are elsewhere as a rule: here they must not crowd it out of the cores
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{address}/_stcore/health"), "the dashboard to start", 300)
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


def _studies(store: Path) -> list[str]:
    """Their names: what a page's address holds."""
    return sorted(json.loads(path.read_text())["study"] for path in (store / "studies").glob("*.json"))


def _browse(load: Load, address: str, server: int, studies: list[str]) -> Visits:
    visits = Visits()
    with _tabs(load) as tabs:
        until = time.monotonic() + load.seconds
        readers = [
            threading.Thread(target=_read, args=(load, address, tab, number, studies, until, visits))
            for number, tab in enumerate(tabs)
        ]
        for reader in readers:
            reader.start()
        while any(reader.is_alive() for reader in readers):
            visits.memory.append(memory_mb(server))
            time.sleep(1.0)
    return visits


@contextmanager
def _tabs(load: Load) -> Iterator[Sequence[Any]]:
    from tests.load.browsers import browsers

    if load.wires:
        yield [None] * load.browsers
        return
    with browsers(load.browsers) as tabs:
        yield tabs


def _open(address: str, tab: Any, page: str, query: str) -> float:
    """Seconds until a page is there: in a tab at rest, without one sent whole."""
    from tests.load.browsers import visit
    from tests.load.wires import fetch

    if tab is None:
        return fetch(address, page, query, _PATIENCE)
    return visit(tab, f"{address}/{page}{f'?{query}' if query else ''}", _PATIENCE)


def _read(load: Load, address: str, tab: Any, number: int, studies: list[str], until: float, visits: Visits) -> None:
    """One reader: pages at random, every other time of the study that runs, else of one that is finished."""
    rng = np.random.default_rng([load.seed, number])
    time.sleep(float(rng.uniform(0, load.think)))
    while time.monotonic() < until:
        page = PAGES[int(rng.integers(len(PAGES)))]
        study = "" if rng.random() < 0.5 else f"study={quote(studies[int(rng.integers(len(studies)))])}"
        try:
            visits.seconds.setdefault(page or "leaderboard", []).append(_open(address, tab, page, study))
        except (RuntimeError, AssertionError, TimeoutError, OSError) as error:
            visits.errors.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        time.sleep(float(rng.exponential(load.think)))


def _summary(load: Load, visits: Visits) -> dict[str, Any]:
    everything = [second for seconds in visits.seconds.values() for second in seconds]
    memory = visits.memory
    return {
        "load": {name: str(value) if isinstance(value, Path) else value for name, value in vars(load).items()},
        "pages": len(everything),
        "errors": len(visits.errors),
        "first of these": sorted(set(visits.errors))[:5],
        "seconds to ready": percentiles(everything),
        **{f"  {page}": percentiles(seconds) for page, seconds in sorted(visits.seconds.items())},
        "MB of the server": {"first": memory[0], "most": max(memory), "last": memory[-1]},
        "MB by the minute": [round(value) for value in memory[::60]],
    }
