"""Results at an address, on a real S3 API: what one machine writes the others read, whole and sound or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from bench.errors import UserError
from bench.store.artifacts import Artifacts
from bench.store.datasets import DataRecord
from bench.store.files import read_json, write_json
from bench.store.fragments import Fragments
from bench.store.marks import leave_mark, remove_marks, seen_marks
from bench.store.mirror import FOLDERS, mirror_of, open_place, place_of, refresh
from bench.store.remote_artifacts import listed_artifacts, unread
from bench.store.remote_quota import clean_remote
from tests.s3 import BUCKET, Bucket, bucket
from tests.store.test_fragments import rows

__all__ = ["bucket"]
ROOT = Path(__file__).parents[2]


def write(artifacts: Artifacts, key: str, content: str = "x") -> None:
    with artifacts.writing("encoders", key) as folder:
        (folder / "previews").mkdir()
        (folder / "previews" / "0_input.png").write_text("picture")
        (folder / "training.json").write_text("{}")
        (folder / "weights").write_text(content)


def keys(root: Path) -> list[str]:
    return sorted(Fragments(root, "rows").keys())


def test_what_one_machine_writes_another_reads(bucket: Bucket) -> None:
    here = bucket.machine("a", "shared")
    Fragments(here, "rows").write(rows(["a", "b"]))
    write_json(here / "studies" / "s.json", {"study_key": "s"})
    write(Artifacts(here), "k")
    there = bucket.machine("b", "shared")
    assert there != here
    assert place_of(there) == place_of(here) == f"s3://{BUCKET}/shared"
    assert keys(there) == ["a", "b"]
    assert read_json(there / "studies" / "s.json") == {"study_key": "s"}
    assert not (there / "artifacts").exists()  # fetched when it is looked for
    assert Artifacts(there).keys("encoders") == {"k"}
    found = Artifacts(there).find("encoders", "k")
    assert found is not None
    assert found.is_relative_to(there)
    assert (found / "weights").read_text() == "x"
    assert Artifacts(there).find("encoders", "other") is None


def test_a_file_that_was_written_over_is_brought_again(bucket: Bucket) -> None:
    here, there = bucket.machine("a", "over"), bucket.machine("b", "over")
    for value in (1, 2):
        write_json(here / "studies" / "s.json", {"value": value})
        refresh(there)
        assert read_json(there / "studies" / "s.json") == {"value": value}
    write_json(here / "progress" / "s.json", {})
    assert bucket.names("over") == ["studies/s.json"]


def test_merged_fragments_replace_the_others_on_every_machine(bucket: Bucket) -> None:
    here, there = bucket.machine("a", "merge"), bucket.machine("b", "merge")
    for key in "abc":
        Fragments(here, "rows").write(rows([key]))
    refresh(there)
    Fragments(here, "rows").compact()
    refresh(there)
    assert len(list((there / "rows").iterdir())) == 1 == len(bucket.names("merge"))
    assert keys(there) == ["a", "b", "c"]


def test_listing_is_cheap_and_nothing_is_fetched_twice(bucket: Bucket) -> None:
    here = bucket.machine("a", "cheap")
    for number in range(20):
        Fragments(here, "rows").write(rows([f"row {number}"]))
        write(Artifacts(here), f"k{number}")
    bucket.requests.clear()
    there = bucket.machine("b", "cheap")
    # A listing of a folder that is empty takes two requests more, and five of the six are.
    assert bucket.sent("GET", "list-type") + bucket.sent("HEAD") <= len(FOLDERS) + 2 * (len(FOLDERS) - 1)
    assert bucket.sent("GET", ".parquet") == 20
    bucket.requests.clear()
    refresh(there)
    refresh(there, older_than=60)
    assert bucket.sent("GET", ".parquet") == 0
    assert len(bucket.requests) <= 16
    bucket.requests.clear()
    Artifacts(there).find("encoders", "k0")
    assert len(bucket.requests) == 4  # the marker and three files
    Artifacts(there).find("encoders", "k0")
    assert len(bucket.requests) == 4
    assert Artifacts(there).find("encoders", "none") is None
    assert len(bucket.requests) == 5


def test_parts_of_artifacts_come_without_the_rest(bucket: Bucket) -> None:
    here = bucket.machine("a", "parts")
    write(Artifacts(here), "k")
    late = here / "artifacts" / "encoders" / "k" / "previews" / "50_late.png"
    write_json(late, "added later")
    there = bucket.machine("b", "parts")
    Artifacts(there).fetch_parts("encoders", ["k", "none"], ("training.json", "previews/"))
    folder = Artifacts(there).path("encoders", "k")
    assert sorted(path.name for path in folder.rglob("*.*")) == ["0_input.png", "50_late.png", "training.json"]
    found = Artifacts(there).find("encoders", "k")
    assert found is not None
    assert (found / "weights").read_text() == "x"


KILLED = """
import os, signal, sys
from pathlib import Path
from bench.store.artifacts import Artifacts
from bench.store.mirror import open_place
from bench.store.remote import Remote
from tests.store.test_mirror import write

put, left = Remote.put, [int(sys.argv[2])]

def killed(self, source, name):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    put(self, source, name)

Remote.put = killed
Remote.each = lambda self, do, names: [do(name) for name in names]
write(Artifacts(open_place(sys.argv[1], fresh=False)), "k")
"""


@pytest.mark.parametrize("files", [2, 3])
def test_a_writer_killed_between_two_files_leaves_nothing_to_read(bucket: Bucket, files: int) -> None:
    """It puts three files and the marker."""
    place = f"s3://{BUCKET}/killed{files}"
    bucket.machine("writer", f"killed{files}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", KILLED, place, str(files)], env=environment, cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(bucket.names(f"killed{files}")) == files
    for name in ("reader", "writer"):
        assert Artifacts(bucket.machine(name, f"killed{files}")).find("encoders", "k") is None
    root = bucket.machine("other", f"killed{files}")
    write(Artifacts(root), "k", "other content")
    mirror = mirror_of(root)
    assert mirror is not None
    listed = listed_artifacts(mirror)[("encoders", "k")]
    assert len(unread(mirror, "encoders", "k", listed, before=1e12)) == files  # bench gc takes them away
    assert Artifacts(bucket.machine("reader", f"killed{files}")).find("encoders", "k") is not None


def test_two_writers_of_one_key_never_mix(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.store.remote import Remote

    first, second = bucket.machine("a", "race"), bucket.machine("b", "race")
    put = Remote.put

    def overtaken(self: Remote, source: Path, name: str) -> None:
        if name.endswith(".complete"):
            monkeypatch.setattr(Remote, "put", put)
            write(Artifacts(second), "k", "the second's")
        put(self, source, name)

    monkeypatch.setattr(Remote, "put", overtaken)
    write(Artifacts(first), "k", "the first's")
    found = Artifacts(bucket.machine("c", "race")).find("encoders", "k")
    assert found is not None
    assert (found / "weights").read_text() == "the first's"


def test_a_damaged_artifact_is_quarantined_and_written_anew(bucket: Bucket) -> None:
    write(Artifacts(bucket.machine("a", "rot")), "k", "precious" * 100)
    weights = next(name for name in bucket.names("rot") if name.endswith("weights"))
    bucket.flip(f"rot/{weights}")
    there = Artifacts(bucket.machine("b", "rot"))
    assert there.find("encoders", "k") is None
    assert "quarantine/artifacts-encoders-k-.complete" in bucket.names("rot")
    assert Artifacts(bucket.machine("c", "rot")).find("encoders", "k") is None
    write(there, "k", "precious" * 100)
    assert Artifacts(bucket.machine("d", "rot")).find("encoders", "k") is not None


def test_a_damaged_copy_is_fetched_again(bucket: Bucket) -> None:
    write(Artifacts(bucket.machine("a", "copy")), "k", "precious")
    there = bucket.machine("b", "copy")
    found = Artifacts(there).find("encoders", "k")
    assert found is not None
    (found / "weights").write_text("pRecious")
    again = Artifacts(there).find("encoders", "k")
    assert again is not None
    assert (again / "weights").read_text() == "precious"
    assert [path.name for path in (there / "quarantine").iterdir()] == ["artifacts-encoders-k"]


def test_a_damaged_fragment_is_quarantined(bucket: Bucket) -> None:
    here = bucket.machine("a", "rows")
    Fragments(here, "rows").write(rows(["a"]))
    path = Fragments(here, "rows").write(rows(["b"]))
    bucket.flip(f"rows/rows/{path.name}")
    there = bucket.machine("b", "rows")
    assert keys(there) == ["a"]
    assert f"quarantine/rows-{path.name}" in bucket.names("rows")
    bucket.machine("b", "rows")
    assert keys(there) == ["a"]


def test_a_damaged_copy_of_a_fragment_is_brought_again(bucket: Bucket) -> None:
    here = bucket.machine("a", "rowcopy")
    path = Fragments(here, "rows").write(rows(["a"]))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert keys(here) == []
    assert Fragments(here, "rows").quarantine() == [path]
    assert keys(here) == ["a"]


def test_what_could_not_be_put_there_is_not_here_either(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.store.remote import Remote

    root = bucket.machine("a", "full")

    def full(*_: object) -> None:
        raise UserError("cannot be written")

    monkeypatch.setattr(Remote, "put", full)
    with pytest.raises(UserError):
        Fragments(root, "rows").write(rows(["a"]))
    with pytest.raises(UserError):
        write(Artifacts(root), "k")
    assert keys(root) == []
    assert Artifacts(root).find("encoders", "k") is None


def test_a_data_record_is_asked_for_by_its_key(bucket: Bucket) -> None:
    record = DataRecord("d", "s", "digits", "f", "x", (8, 8, 1), ("a", "b"), (1, 1), 2, 1, 1)
    record.save(bucket.machine("a", "records"))
    assert DataRecord.load(bucket.machine("b", "records", fresh=False), "d") == record


def test_the_quota_of_an_address(bucket: Bucket) -> None:
    root = bucket.machine("a", "quota")
    write(Artifacts(root), "k", "x" * 1000)
    with Artifacts(root).writing("features", "f") as folder:
        (folder / "features.npy").write_bytes(b"x" * 1000)
    mirror = mirror_of(root)
    assert mirror is not None
    assert [item.key for item in clean_remote(mirror, 1500, dry_run=True).removed] == ["f"]
    assert [item.key for item in clean_remote(mirror, 1500).removed] == ["f"]
    assert Artifacts(bucket.machine("b", "quota")).keys("features") == set()
    assert Artifacts(root).find("features", "f") is None
    assert Artifacts(root).find("encoders", "k") is not None


def test_machines_see_the_marks_of_each_other(bucket: Bucket) -> None:
    place = f"s3://{BUCKET}/marks"
    for name in ("a", "b"):
        bucket.machine(name, "marks")
        assert leave_mark(place, ".mark-1", name) == ""
    assert seen_marks(place, ".mark-1", 2) == ("a", "b")
    remove_marks(place, ".mark-1")
    assert bucket.names("marks") == []
    assert "bucket does not exist" in leave_mark("s3://no-such-bucket/x", ".mark-1", "a")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("s3://no-such-bucket/x", "--results s3://no-such-bucket/x: cannot be listed .*bucket does not exist"),
        ("s4://bucket/x", "unknown scheme 's4://' .did you mean 's3://'"),
        ("s3://", "--results s3://: names no bucket"),
        ("gs://bucket/x", "gs:// takes a package: .*gcsfs"),
        ("simplecache::s3://bucket/x", "a chain of addresses"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(bucket: Bucket, place: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_place(place)
    assert "\n" not in str(caught.value)


def test_without_credentials_it_is_one_line(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match="NoCredentialsError: Unable to locate credentials"):
        bucket.machine("nobody", "credentials")
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    assert open_place(str(tmp_path)) == tmp_path == open_place(f"file://{tmp_path}")
    assert mirror_of(tmp_path) is None
    assert place_of(tmp_path) == str(tmp_path)
    assert leave_mark(str(tmp_path), ".mark-1", "a") == ""
    assert seen_marks(str(tmp_path), ".mark-1", 1) == ("a",)
    remove_marks(str(tmp_path), ".mark-1")
    assert list(tmp_path.iterdir()) == []


def test_any_other_file_system_takes_files_under_a_hidden_name_first(tmp_path: Path) -> None:
    """As over sftp: here fsspec's own file system in a folder, whose uploads are not whole."""
    from bench.store.remote import Remote

    source = tmp_path / "source"
    source.write_text("content")
    remote = Remote(f"local://{tmp_path}/store")
    remote.put(source, "rows/a")
    assert remote.read("rows/a") == b"content"
    assert remote.read("rows/b") is None
    assert list(remote.listing("rows")) == ["rows/a"]
    remote.move("rows/a", "quarantine/a")
    remote.remove(["rows/a"])
    assert [path.name for path in (tmp_path / "store").rglob("*") if path.is_file()] == ["a"]


def test_frames_are_equal_on_both_machines(bucket: Bucket) -> None:
    here = bucket.machine("a", "frames")
    Fragments(here, "rows").write(rows(["a", "b"], accuracy=0.25))
    there = bucket.machine("b", "frames")
    assert Fragments(here, "rows").scan().collect().equals(Fragments(there, "rows").scan().collect())
    assert pl.read_parquet(next((there / "rows").iterdir())).height == 2
