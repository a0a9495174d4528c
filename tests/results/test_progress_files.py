from __future__ import annotations

import json
from pathlib import Path

from bench.results.progress import FORGOTTEN_SECONDS, running


def write(root: Path, name: str, **values: object) -> None:
    (root / "progress").mkdir(exist_ok=True)
    (root / "progress" / f"{name}.json").write_text(json.dumps(values))


def test_a_running_study_has_one_line(tmp_path: Path) -> None:
    counts = {"done": 4, "total": 10, "trials_done": 6, "trials": 10, "failed": 1, "rows": 1204}
    write(tmp_path, "a", study="s", state="running", seconds_left=1520, best="simclr", updated=1000.0, **counts)
    (item,) = running(tmp_path, now=1030.0)
    assert item.line == (
        "search 6 of 10 trials · 4 of 10 pretrainings · 1 failed · 1,204 new rows · about 25 min left · "
        "best so far simclr"
    )
    assert item.fraction == 0.5


def test_silence_is_told(tmp_path: Path) -> None:
    write(tmp_path, "a", study="s", done=1, total=2, updated=1000.0)
    assert running(tmp_path, now=1600.0)[0].line == "1 of 2 pretrainings · last news 10 min ago"


def test_ended_forgotten_and_unreadable_files_are_left_out(tmp_path: Path) -> None:
    assert running(tmp_path) == []
    now = 2 * FORGOTTEN_SECONDS
    write(tmp_path, "killed", study="s", done=1, total=2, updated=1000.0)
    write(tmp_path, "ended", study="s", done=1, total=2, state="interrupted", updated=now)
    write(tmp_path, "odd", study=3, done="many", total=None, updated=now)
    (tmp_path / "progress" / "half.json").write_text('{"study": "s", "do')
    (item,) = running(tmp_path, now=now)
    assert (item.study, item.done, item.fraction, item.line) == ("3", 0, 0.0, "0 of 0 pretrainings")
