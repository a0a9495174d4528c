"""The pictures of the manual: forest and curves of published studies, drawn by bench from their bundles.

`python docs/site/pictures.py` draws anew whatever pages show as pictures/STUDY_forest.svg or pictures/STUDY_curves.svg.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path

import polars as pl

from bench.results.export import export

DOCS = Path(__file__).resolve().parents[1]
PICTURES = DOCS / "pictures"


def shown() -> dict[str, set[str]]:
    """The figures that pages show, by the name of the bundle."""
    found: dict[str, set[str]] = {}
    for page in DOCS.rglob("*.md"):
        for name, figure in re.findall(
            r"pictures/((?:paper|mae)\w+)_(forest|curves)\.svg", page.read_text(encoding="utf-8")
        ):
            found.setdefault(name, set()).add(figure)
    return found


def as_results(bundle: Path, root: Path) -> None:
    """Lays a bundle out as a results folder, which every command reads."""
    study = json.loads((bundle / "study.json").read_text(encoding="utf-8"))
    for folder in ("rows", "trials", "studies", "splits"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for table in ("rows", "trials"):
        shutil.copyfile(bundle / f"{table}.parquet", root / table / f"{bundle.name}.parquet")
    (root / "studies" / f"{study['study_key']}.json").write_text(json.dumps(study), encoding="utf-8")
    digest = pl.read_parquet(bundle / "rows.parquet", columns=["split_digest"])["split_digest"][0]
    shutil.copyfile(bundle / "splits.parquet", root / "splits" / f"{digest}.parquet")


def draw(bundle: Path, figures: set[str]) -> None:
    """Writes pictures/BUNDLE_FIGURE.svg of each figure."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        as_results(bundle, root / "results")
        export(root / "results", root / "figures", "figures")
        for name in figures:
            shutil.copyfile(root / "figures" / f"{name}.svg", PICTURES / f"{bundle.name}_{name}.svg")


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for study, figures in sorted(shown().items()):
        draw(DOCS / "results" / study, figures)
        print(study, *sorted(figures))
