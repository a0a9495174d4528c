from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from bench.console import collect_garbage
from bench.store.whole import beside, settle, sweep_parts


def killed_in_write(path: Path) -> Path:
    """What a writer leaves that is killed in the middle of a file."""
    child = os.fork()
    if not child:
        with beside(path) as temporary:
            temporary.write_bytes(b"half of")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    (left,) = path.parent.glob(".*.part")
    return left


def test_what_a_killed_writer_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    left = killed_in_write(tmp_path / "rows" / "a.parquet")
    with beside(tmp_path / "rows" / "b.parquet") as temporary:
        settle(temporary, tmp_path / "rows" / "b.parquet")
    assert sweep_parts(tmp_path) == 0
    os.utime(left, (time.time() - 90_000, time.time() - 90_000))
    assert sweep_parts(tmp_path) == 1
    assert [path.name for path in (tmp_path / "rows").iterdir()] == ["b.parquet"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_gc_removes_unfinished_files_of_yesterday_and_no_others(tmp_path: Path, dry_run: bool) -> None:
    old = killed_in_write(tmp_path / "rows" / "a.parquet")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    deep, new = (tmp_path / name / ".x.json.1234.part" for name in ("artifacts/encoders/k", "trials"))
    for path in (deep, new):
        path.parent.mkdir(parents=True)
        path.touch()
    os.utime(deep, (1, 1))
    lines = collect_garbage(tmp_path, "20GB", dry_run)
    assert [path.exists() for path in (old, deep, new)] == ([True] * 3 if dry_run else [False, False, True])
    assert ("removed 2 unfinished files of writers that died" in lines) is not dry_run
