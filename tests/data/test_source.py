"""Keys of data sets: what changes the images changes the key, and nothing else does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.data.source import data_key, source_key
from bench.errors import UserError
from bench.study.spec import DataSpec

Tree = Callable[..., Path]


def test_the_key_follows_the_files_and_not_the_place(tree: Tree, tmp_path: Path) -> None:
    root = tree({"ant": 2, "bee": 2})
    first = source_key(DataSpec(name="folder", root=str(root)))
    assert source_key(DataSpec(name="folder", root=str(root) + "/")) == first
    (root / "notes.txt").write_text("not an image")
    (root / ".hidden.png").write_text("hidden")
    assert source_key(DataSpec(name="folder", root=str(root))) == first
    shutil.move(root, tmp_path / "elsewhere")
    moved = DataSpec(name="folder", root=str(tmp_path / "elsewhere"))
    assert source_key(moved) == first
    os.utime(tmp_path / "elsewhere/ant/000.png", (1, 1))
    assert source_key(moved) != first


@pytest.mark.parametrize("change", [{"image_size": 8}, {"channels": 1}, {"on_error": "skip"}])
def test_decoding_options_change_both_keys(tree: Tree, change: dict[str, object]) -> None:
    spec = DataSpec(name="folder", root=str(tree({"ant": 1, "bee": 1})))
    other = spec.model_copy(update=change)
    assert source_key(other) != source_key(spec)
    assert data_key(other) != data_key(spec)


@pytest.mark.parametrize("change", [{"validation": 0.2}, {"test": 0.3}, {"max_train": 10}, {"max_test": 5}])
def test_split_options_change_the_data_key_alone(change: dict[str, object]) -> None:
    spec = DataSpec(name="digits")
    other = spec.model_copy(update=change)
    assert source_key(other) == source_key(spec)
    assert data_key(other) != data_key(spec)
    assert data_key(spec, source_key(spec)) == data_key(spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "digit"}, r"data.name: unknown data set 'digit' \(did you mean 'digits'\?\); valid: .*folder"),
        ({"name": "folder"}, "data.root: data set 'folder' needs a folder"),
        ({"name": "folder", "root": "no/such"}, "data.root: no folder 'no/such'"),
        ({"name": "eurosat", "root": "."}, "holds no eurosat/2750; leave out data.root"),
        ({"name": "digits", "root": "."}, "comes with scikit-learn"),
    ],
)
def test_mistakes_are_named(
    options: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        source_key(DataSpec(**options))


def test_links_out_of_the_root_are_refused(tree: Tree, tmp_path: Path) -> None:
    root = tree({"ant": 1, "bee": 1})
    spec = DataSpec(name="folder", root=str(root))
    (root / "bee/again.png").symlink_to(root / "ant/000.png")
    source_key(spec)  # a second name inside the root
    (tmp_path / "outside.png").write_bytes((root / "ant/000.png").read_bytes())
    (root / "bee/link.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(UserError, match=r"bee/link.png is a link to .*outside.png"):
        source_key(spec)
    (root / "bee/link.png").unlink()
    (root / "loop").symlink_to(root)
    with pytest.raises(UserError, match="loop is a link"):
        source_key(spec)


def test_planning_imports_nothing_heavy() -> None:
    heavy = "torch", "sklearn", "numpy", "polars"
    code = f"import sys, bench.data.source; sys.exit(any(name in sys.modules for name in {heavy}))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
