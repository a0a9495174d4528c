from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.store.artifacts import Artifacts
from bench.store.quota import clean, parse_size


def make(artifacts: Artifacts, kind: str, key: str, size: int = 10) -> Path:
    with artifacts.writing(kind, key) as folder:
        (folder / "data").write_bytes(b"x" * size)
    return artifacts.path(kind, key)


def test_an_artifact_is_whole_or_absent(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    assert artifacts.find("encoders", "k") is None

    def interrupted() -> None:
        with artifacts.writing("encoders", "k") as folder:
            (folder / "data").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert artifacts.find("encoders", "k") is None
    assert list((tmp_path / "artifacts" / "encoders").iterdir()) == []
    make(artifacts, "encoders", "k")
    found = artifacts.find("encoders", "k")
    assert found is not None
    assert (found / "data").read_bytes() == b"x" * 10


def test_of_two_writers_the_first_wins(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    started = threading.Barrier(4)
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with artifacts.writing("features", "k") as folder:
                (folder / "data").write_text(str(number))
                started.wait(timeout=10)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = artifacts.find("features", "k")
    assert found is not None
    assert (found / "data").read_text() in "0123"
    assert [path.name for path in found.parent.iterdir()] == ["k"]


def test_a_folder_without_its_marker_is_replaced(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    broken = artifacts.path("features", "k")
    broken.mkdir(parents=True)
    (broken / "data").write_text("half")
    assert artifacts.find("features", "k") is None
    make(artifacts, "features", "k")
    assert (artifacts.path("features", "k") / "data").read_bytes() == b"x" * 10


@pytest.mark.parametrize("key", ["", "..", ".hidden", "a/b"])
def test_keys_cannot_leave_their_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        Artifacts(tmp_path).path("encoders", key)


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="valid: images"):
        Artifacts(tmp_path).path("pictures", "k")


def test_the_quota_drops_what_comes_back_cheaply_first(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    make(artifacts, "encoders", "old", 100)
    make(artifacts, "features", "new", 100)
    make(artifacts, "features", "newer", 100)
    os.utime(artifacts.path("features", "new") / ".complete", (1, 1))
    assert [item.key for item in clean(tmp_path, keep=200, dry_run=True).removed] == ["new"]
    assert artifacts.find("features", "new") is not None
    os.utime(artifacts.path("features", "new") / ".complete", (1, 1))
    cleaning = clean(tmp_path, keep=100)
    assert [item.key for item in cleaning.removed] == ["new", "newer"]
    assert cleaning.kept_bytes == 100
    assert artifacts.find("encoders", "old") is not None


def test_what_a_dead_writer_left_is_swept(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    make(artifacts, "features", "k")
    left = tmp_path / "artifacts" / "features" / ".building-x-123"
    left.mkdir()
    assert artifacts.sweep() == 0
    os.utime(left, (time.time() - 1e6, time.time() - 1e6))
    assert artifacts.sweep() == 1
    assert not left.exists()


@pytest.mark.parametrize(("text", "size"), [("20GB", 20 * 10**9), ("500M", 5 * 10**8), ("1.5k", 1500), ("0", 0)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_bad_size_is_named() -> None:
    with pytest.raises(UserError, match="'lots' is not a size"):
        parse_size("lots")


def test_a_quota_of_one_kind_leaves_the_others(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    make(artifacts, "encoders", "k", 100)
    make(artifacts, "features", "k", 100)
    assert [item.kind for item in clean(tmp_path, keep=0, kinds=("features",)).removed] == ["features"]
    assert artifacts.find("encoders", "k") is not None
