"""The pictures of the manual: forest and curves of each published study, drawn by bench from its bundle.

    python docs/site/pictures.py            # all bundles of docs/results
    python docs/site/pictures.py NAME ...   # some
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

import polars as pl

from bench.results.export import export

DOCS = Path(__file__).resolve().parents[1]
PICTURES = ("forest", "curves")


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


def draw(bundle: Path) -> None:
    """Writes pictures/BUNDLE_forest.svg and pictures/BUNDLE_curves.svg."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        as_results(bundle, root / "results")
        export(root / "results", root / "figures", "figures")
        for name in PICTURES:
            shutil.copyfile(root / "figures" / f"{name}.svg", DOCS / "pictures" / f"{bundle.name}_{name}.svg")


if __name__ == "__main__":
    (DOCS / "pictures").mkdir(exist_ok=True)
    for path in sorted((DOCS / "results").glob("*/study.json")):
        if not sys.argv[1:] or path.parent.name in sys.argv[1:]:
            draw(path.parent)
            print(path.parent.name)
