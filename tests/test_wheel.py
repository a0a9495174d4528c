"""The wheel and the sdist hold the studies and the dashboard where bench finds them, and work outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("bench", "dashboards", "search_spaces", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, so that no build leaves anything in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, copy / name, ignore=ignore) if source.is_dir() else shutil.copy(source, copy / name)
    return copy


def built(source: Path, kind: str) -> Path:
    """The wheel or the sdist, made by the build back end that pyproject.toml names."""
    code = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])('dist'))"
    done = subprocess.run([sys.executable, "-c", code, f"build_{kind}"], capture_output=True, text=True, cwd=source)
    assert done.returncode == 0, done.stderr
    return source / "dist" / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, unpacked."""
    unpacked = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built(source, "sdist")) as archive:
        archive.extractall(unpacked, filter="data")
    (folder,) = unpacked.iterdir()
    return folder


@pytest.fixture(scope="module")
def site(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist and unpacked as pip would."""
    unpacked = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(built(sdist, "wheel")) as archive:
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
    assert (site / "bench" / "py.typed").is_file()
    (metadata,) = site.glob("pretextbench-*.dist-info")
    assert "bench = bench.cli:main" in (metadata / "entry_points.txt").read_text()
    assert "Requires-Python: >=3.11" in (metadata / "METADATA").read_text()


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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_it(site: Path, tmp_path: Path, shell: str) -> None:
    """The script that `bench --show-completion` prints, and what it is answered."""
    code = "import sys; sys.argv[0] = 'bench'; from bench.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(site), "_BENCH_COMPLETE": f"complete_{shell}"}
    words = {"COMP_WORDS": "bench lead", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "bench lead"}
    words["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    answered = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment | words,
    )
    assert "leaderboard" in answered.stdout, answered.stderr


def test_the_completion_script_is_shown(site: Path, tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-P", "-m", "bench.cli", "--show-completion", "bash"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert shown.returncode == 0, shown.stderr
    assert "complete -o default -F" in shown.stdout
