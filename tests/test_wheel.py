"""The wheel holds the studies and the dashboard where bench finds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("bench", "dashboards", "search_spaces", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources and unpacked as pip would."""
    copy = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, copy / name, ignore=ignore) if source.is_dir() else shutil.copy(source, copy / name)
    built = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(copy / "dist"),
            str(copy),
        ],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (copy / "dist").glob("*.whl")
    unpacked = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked


def bench(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, "-P", "-m", "bench.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )


def test_everything_is_in_it(site: Path) -> None:
    for folder in ("bench", "dashboards", "search_spaces"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert (site / path.relative_to(ROOT)).is_file(), f"{path.relative_to(ROOT)} is not in the wheel"


def test_studies_are_found_outside_the_checkout(site: Path, tmp_path: Path) -> None:
    planned = bench(site, tmp_path, "plan")
    assert planned.returncode == 0, planned.stderr
    assert "quickstart on digits" in planned.stdout
    code = "import bench, dashboards; print(bench.__file__, dashboards.__file__)"
    where = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
    )
    assert where.stdout.count(str(site)) == 2


def test_the_dashboard_is_found(site: Path, tmp_path: Path) -> None:
    code = "from pathlib import Path; from bench.console import dashboard_command as d; print(d(Path('r'), 1))"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        check=True,
    )
    assert str(site / "dashboards" / "app.py") in found.stdout
