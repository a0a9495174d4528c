"""Many writers and readers of one results folder at once: is any row lost, half read, or gone again?

A row's values follow from its key, so a reader knows what each must hold. A writer notes every fragment behind which it
stands, and a reader looks at these notes first: what it then reads must hold all that was noted.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from bench.store.fragments import Fragments
from bench.store.schema import ROWS
from tests.faults.processes import start, wait
from tests.load.measures import memory_mb, percentiles

ROWS_EACH = 12  # of a fragment: about as many as a unit of a study has
BAD = ("failed processes", "rows twice", "wrong at the end", "wrong while writing", "errors of readers")
_ITEMS = 1250  # bytes of a bitmap: 10,000 test items


@dataclass(frozen=True)
class Load:
    """How many processes, for how long, and how long each rests between two operations."""

    writers: int = 20
    readers: int = 5
    seconds: float = 60.0
    write_pause: float = 0.0
    read_pause: float = 0.0
    compact_every: float = 0.0  # seconds; 0: never


def run(load: Load) -> dict[str, Any]:
    """Writes and reads at once, then reads all of it once more."""
    with tempfile.TemporaryDirectory(prefix="bench-load-") as name:
        folder = Path(name)
        until = time.monotonic() + load.seconds
        names = [f"writer{number}" for number in range(load.writers)]
        readers = [f"reader{number}" for number in range(load.readers)]
        compactors = ["compactor"] if load.compact_every else []
        jobs = [start(folder / f"{one}.log", _write, folder, one, until, load.write_pause) for one in names]
        jobs += [start(folder / f"{one}.log", _read, folder, one, names, until, load.read_pause) for one in readers]
        jobs += [start(folder / f"{one}.log", _compact, folder, one, until, load.compact_every) for one in compactors]
        statuses = [wait(job, load.seconds + 900) for job in jobs]
        everyone = [*names, *readers, *compactors]
        failed = [one for one, status in zip(everyone, statuses, strict=True) if status]
        logs = {one: (folder / f"{one}.log").read_text()[-1500:] for one in failed}
        return _summary(load, folder, names, readers, compactors) | {"failed processes": len(failed), "logs": logs}


def fragment(writer: str, number: int) -> pl.DataFrame:
    """A fragment whose every value follows from the names of its rows."""
    keys = [f"{writer}-{number}-{row}" for row in range(ROWS_EACH)]
    known = {"status": "ok", "finished": datetime.now(UTC), "method": writer, "seed": number}
    records = [dict.fromkeys(ROWS) | known | {"row_key": key, **values(key)} for key in keys]
    return pl.DataFrame(records, schema=ROWS)


def values(key: str) -> dict[str, Any]:
    digest = hashlib.sha256(key.encode()).digest()
    return {
        "accuracy": int.from_bytes(digest[:4]) / 2**32,
        "correct": (digest * (_ITEMS // len(digest) + 1))[:_ITEMS],
        "class_correct": list(digest[:10]),
    }


def wrong(rows: pl.DataFrame, noted: dict[str, int]) -> list[str]:
    """What is not as it was written, a line each; empty where all is well.

    Args:
        rows: columns row_key, method (the writer), seed (number of the fragment) and the values.
        noted: fragments that each writer had behind it before the rows were read.
    """
    found = []
    for row in rows.iter_rows(named=True):
        if any(row[name] != value for name, value in values(row["row_key"]).items()):
            found.append(f"{row['row_key']}: other values than were written")
    pieces = rows.group_by("method", "seed").len()
    for writer, number, count in pieces.iter_rows():
        if count != ROWS_EACH:
            found.append(f"{writer}-{number}: {count} rows of {ROWS_EACH}")
    read = dict(pieces.group_by("method").agg("seed").iter_rows())
    for writer, count in noted.items():
        missing = set(range(count)) - set(read.get(writer, ()))
        found += [f"{writer}-{number}: written, and not read" for number in sorted(missing)]
    return found


def _read_all(folder: Path) -> pl.DataFrame:
    columns = ["row_key", "method", "seed", "accuracy", "correct", "class_correct"]
    return Fragments(folder, "rows").read(lambda frame: frame.select(columns))


def _write(folder: Path, name: str, until: float, pause: float) -> None:
    fragments, seconds, before = Fragments(folder, "rows"), [], 0.0
    with (folder / f"{name}.noted").open("ab", buffering=0) as noted:
        while time.monotonic() < until:
            frame, began = fragment(name, len(seconds)), time.perf_counter()
            fragments.write(frame)
            seconds.append(time.perf_counter() - began)
            noted.write(b".")
            before = before or memory_mb()
            time.sleep(pause)
    _say(folder, name, seconds, [before, memory_mb()])


def _read(folder: Path, name: str, writers: list[str], until: float, pause: float) -> None:
    seconds, memory, problems, errors = [], [], [], []
    while time.monotonic() < until:
        noted, began = _noted(folder, writers), time.perf_counter()
        try:
            rows = _read_all(folder)
        except (pl.exceptions.PolarsError, OSError) as error:
            errors.append(f"{type(error).__name__}: {str(error)[:200]}")
            continue
        seconds.append(time.perf_counter() - began)
        problems += wrong(rows, noted)
        memory.append(memory_mb())
        time.sleep(pause)
    _say(folder, name, seconds, memory, problems, errors)


def _compact(folder: Path, name: str, until: float, every: float) -> None:
    seconds = []
    while time.monotonic() + every < until:
        time.sleep(every)
        began = time.perf_counter()
        Fragments(folder, "rows").compact()
        seconds.append(time.perf_counter() - began)
    _say(folder, name, seconds, [memory_mb()])


def _noted(folder: Path, writers: list[str]) -> dict[str, int]:
    paths = {writer: folder / f"{writer}.noted" for writer in writers}
    return {writer: path.stat().st_size for writer, path in paths.items() if path.exists()}


def _say(folder: Path, name: str, seconds: list[float], memory: list[float], *more: list[str]) -> None:
    problems, errors = more or ([], [])
    said = {"seconds": seconds, "memory": memory, "problems": problems, "errors": errors}
    (folder / f"{name}.json").write_text(json.dumps(said))


def _summary(load: Load, folder: Path, writers: list[str], readers: list[str], compactors: list[str]) -> dict[str, Any]:
    said = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    rows, noted = _read_all(folder), _noted(folder, writers)
    last = wrong(rows, noted)
    problems = [line for one in readers for line in said.get(one, {}).get("problems", [])]
    errors = [line for one in readers for line in said.get(one, {}).get("errors", [])]
    return {
        "load": vars(load),
        "fragments": sum(noted.values()),
        "rows": rows.height,
        "rows twice": rows.height - rows["row_key"].n_unique(),
        "wrong at the end": len(last),
        "wrong while writing": len(problems),
        "errors of readers": len(errors),
        "first of these": [*last[:3], *problems[:3], *sorted(set(errors))[:3]],
        "seconds of a write": percentiles(_seconds(said, writers)),
        "seconds of a read": percentiles(_seconds(said, readers)),
        "seconds of a compaction": percentiles(_seconds(said, compactors)),
        "MB of a writer": _memory(said, writers),
        "MB of a reader": _memory(said, readers),
    }


def _seconds(said: dict[str, Any], names: list[str]) -> list[float]:
    return [second for name in names for second in said.get(name, {}).get("seconds", [])]


def _memory(said: dict[str, Any], names: list[str]) -> dict[str, float]:
    """Of the process that grew most: resident memory behind its first operation, and at most."""
    spans = [(found[0], max(found)) for name in names if (found := said.get(name, {}).get("memory"))]
    first, most = max(spans, key=lambda span: span[1] - span[0], default=(0.0, 0.0))
    return {"first": first, "most": most}
