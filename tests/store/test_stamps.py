"""Damage on the disk of one machine: seen by digest, put aside under a name, never read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.store.artifacts import Artifacts
from bench.store.fragments import Fragments
from bench.store.quarantine import quarantined, set_aside
from bench.store.stamps import stamp_of, stamped
from tests.store.test_fragments import rows


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << (place % 8)
    path.write_bytes(content)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(min_value=0, max_value=10**6), cut=st.booleans())
def test_no_change_of_a_fragment_is_read(tmp_path_factory: pytest.TempPathFactory, place: int, cut: bool) -> None:
    root = tmp_path_factory.mktemp("store")
    fragments = Fragments(root, "rows")
    fragments.write(rows(["a"]))
    path = fragments.write(rows(["b", "c"]))
    if cut:
        path.write_bytes(path.read_bytes()[: place % path.stat().st_size])
    else:
        flip(path, place)
    assert fragments.keys() == {"a"}
    assert fragments.damaged() == [path] == fragments.quarantine()
    assert quarantined(root) == [f"rows-{path.name}"]
    assert fragments.damaged() == []
    fragments.write(rows(["b", "c"]))
    assert fragments.keys() == {"a", "b", "c"}


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "marker"])
def test_a_damaged_artifact_is_absent_and_can_be_written_again(tmp_path: Path, harm: str) -> None:
    artifacts = Artifacts(tmp_path)

    def write() -> None:
        with artifacts.writing("features", "k") as folder:
            (folder / "features.npy").write_bytes(bytes(range(256)))

    write()
    file = artifacts.path("features", "k") / "features.npy"
    if harm == "flip":
        flip(file, 100)
    elif harm == "cut":
        file.write_bytes(bytes(range(255)))
    elif harm == "gone":
        file.unlink()
    else:
        file.with_name(".complete").write_text('{"files": ')
    assert len(artifacts.problems("features", "k")) == 1
    assert artifacts.find("features", "k") is None
    assert quarantined(tmp_path) == ["artifacts-features-k"]
    assert not artifacts.path("features", "k").exists()
    write()
    assert artifacts.find("features", "k") is not None
    assert artifacts.problems("features", "k") == []


def test_what_is_added_later_is_not_damage(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    with artifacts.writing("encoders", "k") as folder:
        (folder / "weights").write_text("w")
    (artifacts.path("encoders", "k") / "late.png").write_text("picture")
    assert artifacts.find("encoders", "k") is not None


def test_the_bare_marker_of_an_earlier_version_is_taken(tmp_path: Path) -> None:
    folder = Artifacts(tmp_path).path("encoders", "k")
    folder.mkdir(parents=True)
    (folder / ".complete").touch()
    assert Artifacts(tmp_path).find("encoders", "k") == folder


def test_a_second_one_of_the_same_name_gets_a_number(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "rows").mkdir(exist_ok=True)
        (tmp_path / "rows" / "x").touch()
        set_aside(tmp_path, tmp_path / "rows" / "x", "why")
    assert quarantined(tmp_path) == ["rows-x", "rows-x~2"]


def test_names_carry_digests() -> None:
    name = stamped("key-failed", "0123456789abcdef" * 4, ".parquet")
    assert name == "key-failed.0123456789abcdef.parquet"
    assert stamp_of(name) == "0123456789abcdef"
    assert stamp_of("0123456789abcdef0123456789abcdef.parquet") is None
