"""Reading a large store: the leaderboard of one study among many, before and after compaction.

    python benchmarks/rows.py                                  # 1,000,000 rows in 10,000 fragments
    python benchmarks/rows.py --rows 20000 --fragments 200     # a corner of it, under a minute

The store holds studies of 50,000 rows (50 entrants x 10 seeds x 10 draws x 10 label budgets, 1,000 test items). Every
measurement runs in a process of its own: wall and CPU seconds from start to exit, and the most memory it held (resident
set). On a busy machine the CPU seconds are the ones to compare.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from bench.store.files import write_json
from bench.store.fragments import Fragments
from bench.store.keys import canonical_json, content_key
from bench.store.schema import ROWS, SCHEMA_VERSION

CLASSES, ITEMS = 10, 1000
ENTRANTS, SEEDS, DRAWS = 50, 10, 10
BUDGETS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
STUDY_ROWS = ENTRANTS * SEEDS * DRAWS * len(BUDGETS)
START = datetime(2026, 1, 1, tzinfo=UTC)
COMMANDS = {
    "bench leaderboard": ["-m", "bench.cli", "leaderboard", "--results"],
    "load behind the dashboard": [
        "-c",
        "import sys; from pathlib import Path; from bench.api import current_code\n"
        "from bench.results.leaderboard import make_board\n"
        "from bench.results.opening import open_results, studies\n"
        "root = Path(sys.argv[1]); studies(root); make_board(open_results(root), code=current_code())",
    ],
}


@dataclass(frozen=True)
class Measured:
    """One command on one state of the store."""

    state: str
    command: str
    seconds: float
    cpu_seconds: float
    peak_mb: float


def study_rows(study: int, rows: int) -> pl.DataFrame:
    """The first `rows` rows of a synthetic study: random bitmaps, better with more labels and by entrant."""
    index = np.arange(rows)
    entrant, rest = np.divmod(index, SEEDS * DRAWS * len(BUDGETS))
    seed, rest = np.divmod(rest, DRAWS * len(BUDGETS))
    draw, budget = np.divmod(rest, len(BUDGETS))
    numbers = np.random.default_rng(study)
    skill = 0.25 + 0.05 * budget + 0.003 * entrant + 0.01 * numbers.normal(size=rows)
    right = numbers.random((rows, ITEMS), dtype=np.float32) < skill[:, None]
    recalls = right.reshape(rows, -1, CLASSES).sum(1)
    fingerprint, split = content_key("data", study=study), content_key("split", study=study)
    pretrained = pl.concat_str(pl.lit(f"p{study}-"), "entrant", pl.lit("-"), "seed")
    axes = [canonical_json({"noise_level": round(0.01 * number, 2)}) for number in range(ENTRANTS)]
    table = pl.DataFrame({"entrant": entrant, "seed": seed, "draw": draw, "budget": budget})
    known = {
        "schema_version": pl.lit(SCHEMA_VERSION, dtype=pl.Int64),
        "row_key": pl.Series([content_key("row", study=study, row=int(row)) for row in index]),
        "unit_key": pretrained,
        "pretrain_key": pretrained,
        "dataset": pl.lit("synthetic"),
        "dataset_fingerprint": pl.lit(fingerprint),
        "split_digest": pl.lit(split),
        "method": pl.when(pl.col("entrant") == 0).then(pl.lit("pixels")).otherwise(pl.lit("unet_denoise")),
        "encoder": pl.lit("unet_small"),
        "axes": pl.Series(axes).gather(entrant),
        "options": pl.Series(axes).gather(entrant),
        "protocol": pl.lit("linear"),
        "protocol_options": pl.lit('{"draws":10,"selection":"auto"}'),
        "label_budget": pl.Series([str(size) for size in BUDGETS]).gather(budget),
        "n_labels": pl.Series(np.array(BUDGETS)[budget] * CLASSES),
        "layer": pl.lit("bottleneck"),
        "selected": pl.lit("{}"),
        "selection": pl.lit("fixed"),
        "n_candidates": pl.lit(1, dtype=pl.Int64),
        "n_selection_labels": pl.lit(0, dtype=pl.Int64),
        "accuracy": pl.Series(right.mean(1)),
        "balanced_accuracy": pl.Series(recalls.mean(1) * CLASSES / ITEMS),
        "class_correct": pl.Series(recalls.tolist(), dtype=pl.List(pl.Int64)),
        "class_counts": pl.Series([[ITEMS // CLASSES] * CLASSES] * rows, dtype=pl.List(pl.Int64)),
        "correct": pl.Series([bits.tobytes() for bits in np.packbits(right, axis=1)], dtype=pl.Binary),
        "n_test": pl.lit(ITEMS, dtype=pl.Int64),
        "pretrain_seconds": pl.lit(60.0),
        "numerical_versions": pl.lit('{"data":1}'),
        "source_hash": pl.lit("0" * 32),
        "finished": pl.Series([START + timedelta(days=study, seconds=int(row)) for row in index // 100]),
        "status": pl.lit("ok"),
    }
    table = table.with_columns(**known)
    empty = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in ROWS.items() if name not in table.columns]
    return table.with_columns(empty).select(ROWS.names()).cast(ROWS)  # type: ignore[arg-type]


def make_store(root: Path, rows: int, fragments: int) -> None:
    """Writes the store: studies one after the other, their rows in `fragments` files of equal size."""
    size = rows // fragments
    for study, count in enumerate(_counts(rows)):
        table = study_rows(study, count)
        for part in table.iter_slices(size):
            Fragments(root, "rows").write(part)
        _write_split(root, table["split_digest"][0])
        spec = {"study": f"study {study}", "seeds": SEEDS, "reference": ["pixels+linear"]}
        manifest = {"study_key": content_key("study", study=study), "study": f"study {study}", "spec": spec}
        created = (START + timedelta(days=study)).isoformat()
        manifest |= {"data": {"name": "synthetic"}, "row_keys": table["row_key"].to_list(), "created": created}
        write_json(root / "studies" / f"{manifest['study_key']}.json", manifest)


def _counts(rows: int) -> Iterator[int]:
    while rows > 0:
        yield min(rows, STUDY_ROWS)
        rows -= STUDY_ROWS


def _write_split(root: Path, digest: str) -> None:
    items = np.arange(ITEMS)
    table = pl.DataFrame({"item": items, "index": items, "label": items % CLASSES, "group": items})
    path = root / "splits" / f"{digest}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.with_columns(split=pl.lit("test")).write_parquet(path)


def measure(state: str, name: str, arguments: list[str], root: Path) -> Measured:
    """Runs a command on the store in a fresh process."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments, str(root)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{name}: exit status {process.returncode}")
    peak = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return Measured(state, name, seconds, usage.ru_utime + usage.ru_stime, peak)


def store_size(root: Path) -> tuple[int, float]:
    """Number of fragments and their size in MB."""
    files = Fragments(root, "rows").files()
    return len(files), sum(path.stat().st_size for path in files) / 1e6


def run(root: Path, rounds: int) -> list[Measured]:
    """Every command on the store as it is, the compaction, then every command again; the median of the rounds."""
    found = []
    for state in ("fragments", "compacted"):
        if state == "compacted":
            found.append(measure("fragments", "bench gc", ["-m", "bench.cli", "gc", "--results"], root))
        files, size = store_size(root)
        print(f"{state}: {files:,} files, {size:,.0f} MB", flush=True)
        for name, arguments in COMMANDS.items():
            times = [measure(state, name, arguments, root) for _ in range(rounds)]
            found.append(sorted(times, key=lambda one: one.seconds)[len(times) // 2])
    return found


def main() -> None:
    from pairs import write  # here: tests/load imports this file from another folder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--fragments", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each command; the median is reported")
    parser.add_argument("--output", type=Path, default=None, help="where the JSON goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_store(root, options.rows, options.fragments)
        found = run(root, options.rounds)
    print(f"{'state':<10} {'command':<26} {'seconds':>8} {'CPU s':>8} {'peak MB':>8}")
    for one in found:
        print(f"{one.state:<10} {one.command:<26} {one.seconds:8.2f} {one.cpu_seconds:8.2f} {one.peak_mb:8.0f}")
    asked = {"rows": options.rows, "fragments": options.fragments, "rounds": options.rounds}
    write(options.output, {**asked, "measured": [asdict(one) for one in found]})


if __name__ == "__main__":
    main()
