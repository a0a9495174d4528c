"""Packages that declare entry points, put on the path as an installer would."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path


def install(site: Path, name: str, points: Mapping[str, Mapping[str, str]], **modules: str) -> Path:
    """Writes modules, by name and text, and the metadata of a package NAME 1.0; returns the folder to put on the path.

    Args:
        site: the folder; made if need be.
        name: of the package.
        points: of each group, entry points by name.
        modules: source text of each.
    """
    site.mkdir(parents=True, exist_ok=True)
    for module, text in modules.items():
        (site / f"{module}.py").write_text(text)
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    sections = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points[group].items()) for group in points
    ]
    (metadata / "entry_points.txt").write_text("\n".join(sections))
    return site


def install_example(folder: Path, site: Path) -> Path:
    """Installs the example in this folder: its `py-modules` and entry points, as its pyproject.toml has them."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    modules = {name: (folder / f"{name}.py").read_text() for name in project["tool"]["setuptools"]["py-modules"]}
    return install(site, project["project"]["name"], project["project"]["entry-points"], **modules)
