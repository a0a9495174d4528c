"""Which files a row's digest of the source follows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import bench
from bench.study.lineage import current_sources, files_digest, source_hash
from bench.study.methods import METHODS
from bench.study.protocols import PROTOCOLS

PACKAGE = Path(bench.__file__).parent
NAMES = {*METHODS, *PROTOCOLS}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the rooms that make rows."""
    copy = tmp_path_factory.mktemp("package")
    for room in ("data", "training", "methods", "protocols"):
        shutil.copytree(PACKAGE / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def edited(package: Path, file: str, rows: list[tuple[str, str]]) -> list[bool]:
    """Whether an edit of the file changes the digest of rows of (method, protocol)."""
    path = package / file
    text = path.read_text()
    before = [files_digest(package, *row, NAMES) for row in rows]
    path.write_text(text + "\n# edited\n")
    after = [files_digest(package, *row, NAMES) for row in rows]
    path.write_text(text)
    return [first != second for first, second in zip(before, after, strict=True)]


@pytest.mark.parametrize(
    ("file", "changes", "leaves"),
    [
        ("methods/swav.py", ["swav", "self_masking", "self_masking_cascade"], ["mae", "pixels", "timm"]),
        ("methods/self_masking.py", ["self_masking", "self_masking_cascade"], ["swav", "mae"]),
        ("methods/pca_pixels.py", ["pca_pixels"], ["mae", "self_masking"]),
        ("methods/masks.py", ["mae", "self_masking"], []),  # shared files count for all
        ("training/loop.py", ["mae", "pixels"], []),
    ],
)
def test_an_edit_is_seen_by_what_builds_on_the_file(
    file: str, changes: list[str], leaves: list[str], package: Path
) -> None:
    rows = [(method, "linear") for method in changes + leaves]
    assert edited(package, file, rows) == [True] * len(changes) + [False] * len(leaves)


def test_protocols_build_on_protocols(package: Path) -> None:
    rows = [("mae", "finetune_mask"), ("mae", "finetune"), ("mae", "knn")]
    assert edited(package, "protocols/finetune.py", rows) == [True, True, False]


def test_a_new_method_makes_no_old_row_look_edited(package: Path) -> None:
    before = files_digest(package, "mae", "linear", {*NAMES, "brand_new"})
    (package / "methods" / "brand_new.py").write_text("from bench.methods.swav import Swav\n")
    assert files_digest(package, "mae", "linear", {*NAMES, "brand_new"}) == before
    (package / "methods" / "brand_new.py").unlink()


def test_the_digest_is_of_the_files_as_they_are(package: Path) -> None:
    assert files_digest(package, "self_masking", "knn", NAMES) == files_digest(PACKAGE, "self_masking", "knn", NAMES)
    assert source_hash("self_masking", "knn") in current_sources()
