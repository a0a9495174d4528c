"""The house: imports only downward, and the rooms that must start at once without torch and Ray."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room imports from itself and from the rooms below it that it names here. docs/architecture.md draws this.
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "references": set(),
    "seeds": set(),
    "store": {"errors", "seeds"},
    "study": {"errors", "seeds", "store"},
    "data": {"errors", "references", "seeds", "store", "study"},
    "stats": {"errors", "seeds", "store", "study"},
    "methods": {"errors", "references", "seeds", "store", "study", "data"},
    "training": {"errors", "seeds", "store", "study", "data", "methods"},
    "results": {"errors", "seeds", "store", "study", "stats"},
    "protocols": {"errors", "references", "seeds", "store", "study", "data", "stats", "methods", "training"},
    "testing": {"errors", "seeds", "store", "study", "data", "methods", "training", "protocols"},
    "dashboards": {"errors", "seeds", "store", "study", "stats", "results"},
    "engine": {"errors", "seeds", "store", "study", "data", "methods", "training", "protocols"},
    "api": {"errors", "store", "study", "results", "engine"},
    "console": {"errors", "store", "study", "results", "data", "engine", "api"},
    "commands": {"errors", "store", "study", "results", "data", "engine", "console"},
    "cli": {"errors", "store", "study", "results", "console", "commands"},
    "run": {"cli"},
}
WITHOUT_TORCH = {"errors", "references", "seeds", "store", "study", "stats", "results", "dashboards"}
WITHOUT_RAY = set(BELOW) - {"engine"}


def files() -> list[Path]:
    return sorted([*ROOT.glob("bench/**/*.py"), *ROOT.glob("dashboards/**/*.py")])


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[0] if parts[0] == "dashboards" else parts[1]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_imported(path: Path) -> set[str]:
    found = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "dashboards":
            found.add("dashboards")
        elif parts[0] == "bench" and len(parts) > 1 and parts[1] in BELOW:
            found.add(parts[1])
    return found - {room(path)}


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downward(path: Path) -> None:
    name = room(path)
    if name == "__init__":
        return
    assert name in BELOW, f"{name} is a new room: give it a floor here and in docs/architecture.md"
    upward = rooms_imported(path) - BELOW[name]
    assert not upward, f"{path.relative_to(ROOT)} imports from {sorted(upward)}, which does not lie below {name}"


def test_the_floors_have_no_cycle() -> None:
    order: list[str] = []
    left = dict(BELOW)
    while left:
        free = [name for name, below in left.items() if below <= set(order)]
        assert free, f"a cycle among {sorted(left)}"
        order += free
        for name in free:
            del left[name]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    tops = {name.split(".")[0] for name in imported(path)}
    if room(path) in WITHOUT_TORCH:
        assert not tops & {"torch", "torchvision", "timm", "ray", "torchmetrics"}
    if room(path) in WITHOUT_RAY:
        assert "ray" not in tops


@pytest.mark.parametrize(
    "statement",
    [
        "import bench, bench.cli, bench.console",
        "import bench.study.plan, bench.study.load, bench.store.fragments, bench.data.source",
        "import bench.results.leaderboard, bench.results.export, bench.results.render",
        "from bench.api import leaderboard",
    ],
)
def test_planning_and_reading_import_neither_torch_nor_ray(statement: str) -> None:
    code = f"import sys; {statement}; print([m for m in ('torch', 'ray', 'streamlit') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_the_driver_of_a_study_loads_no_torch() -> None:
    code = (
        "import bench.engine.cluster, bench.engine.checks, bench.engine.loggers, bench.engine.runner, "
        "bench.engine.search, bench.engine.sharing, bench.engine.tasks, sys; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "False"


def test_what_waits_for_a_trial_loads_neither_torch_nor_images() -> None:
    code = "import bench.engine.waiting, sys; print([m for m in ('torch', 'scipy', 'PIL') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_no_file_name_shadows_a_library() -> None:
    assert not {path.name for path in ROOT.glob("*.py")}


def test_nothing_of_one_machine_is_committed() -> None:
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    needles = [f"/{folder}/" for folder in ("root", "home")] + ["index" + "-url", "find" + "-links"]
    for name in tracked:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yaml", ".toml", ".lock", "") and path.is_file():
            text = path.read_text(errors="ignore")
            assert not [needle for needle in needles if needle in text], name
