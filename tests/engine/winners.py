"""Small studies, run in this process, what winners are taken from; and a place where this package is not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.engine.evaluate import run_units
from bench.engine.runner import make_plan
from bench.engine.site import Site
from bench.store.fragments import Fragments
from bench.study.load import parse_study
from bench.study.manifest import write_manifest

STUDY: dict[str, Any] = {
    "study": "take-home",
    "data": {"name": "digits", "max_train": 300, "max_test": 150},
    "methods": {
        "mae": {"encoder": "vit_nano", "epochs": 2, "batch_size": 64},
        "random_init": {"encoder": "conv_nano"},
        "pixels": {},
    },
    "evaluate": [
        {"protocol": "linear", "label_budgets": [2, 10], "draws": 2, "layers": ["block1", "last"], "methods": ["mae"]},
        {"protocol": "linear", "label_budgets": [2, 10], "draws": 2, "methods": ["pixels", "random_init"]},
        {"protocol": "knn", "label_budgets": [2, 10], "draws": 2, "methods": ["random_init"]},
        {"protocol": "nearest_centroid", "label_budgets": [2], "draws": 2, "methods": ["random_init"]},
    ],
    "seeds": 2,
    "reference": ["pixels+linear"],
}


def run_here(root: Path, raw: dict[str, Any]) -> Site:
    """Runs a study without a cluster, and writes its manifest."""
    study = parse_study(raw, raw["study"])
    plan = make_plan(study, root)
    site = Site(root, study.data, study.resources)
    for pretraining in plan.pretrainings:
        outcome = run_units(site, pretraining, pretraining.units)
        assert outcome.status == "ok", outcome.details
    write_manifest(root, plan)
    return site


CLOSED = """
import functools, importlib.abc, sys

class Closed(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "bench":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Closed())
try:
    import bench
    sys.exit("the package can be imported")
except ModuleNotFoundError:
    pass
import numpy, torch

torch.set_num_threads(1)
"""
OUTSIDER = (
    CLOSED
    + """
images, found = torch.from_numpy(numpy.load(sys.argv[1])), []
for code in sys.argv[3:]:
    scope = {"images": images}
    exec(code, scope)
    found.append(scope["probabilities"].detach().numpy())
assert "bench" not in sys.modules
numpy.savez(sys.argv[2], *found)
"""
)
ASKER = (
    CLOSED
    + """
torch.export.load = functools.cache(torch.export.load)
given, found = numpy.load(sys.argv[1]), {}
for number in range(len({name.partition(".")[0] for name in given.files})):
    mark = f"{number}."
    scope = {name[len(mark):]: torch.from_numpy(given[name]) for name in given.files if name.startswith(mark)}
    exec(sys.argv[3], scope)
    found |= {mark + name: scope[name].detach().numpy() for name in sys.argv[4:]}
assert "bench" not in sys.modules
numpy.savez(sys.argv[2], **found)
"""
)


def outside(folder: Path, images: np.ndarray, scratch: Path, code: Sequence[str]) -> list[np.ndarray]:
    """Probabilities of images, float32 [N, C, H, W], by code that runs where this package cannot be imported."""
    np.save(scratch / "images.npy", images)
    _run(OUTSIDER, folder, scratch / "images.npy", scratch / "found.npz", *code)
    with np.load(scratch / "found.npz") as found:
        return [found[name] for name in found.files]


def asked_outside(
    folder: Path, calls: Sequence[Mapping[str, np.ndarray]], scratch: Path, code: str, names: Sequence[str]
) -> list[dict[str, np.ndarray]]:
    """What code that runs there makes of the arrays of each call: its variables of these names."""
    given = {f"{number}.{name}": array for number, call in enumerate(calls) for name, array in call.items()}
    np.savez(scratch / "given.npz", **given)
    _run(ASKER, folder, scratch / "given.npz", scratch / "found.npz", code, *names)
    with np.load(scratch / "found.npz") as found:
        return [{name: found[f"{number}.{name}"] for name in names} for number in range(len(calls))]


def _run(program: str, folder: Path, *arguments: Path | str) -> None:
    command = [sys.executable, "-I", "-c", program, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def code_blocks(folder: Path) -> list[str]:
    """The Python of a winner's page."""
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)


def card_of(folder: Path) -> dict[str, Any]:
    """What the card says of the winner."""
    return dict(json.loads((folder / "card.json").read_text())["winner"])


def row_of(site: Site, card: dict[str, Any]) -> dict[str, Any]:
    """The row that a winner was taken from."""
    return Fragments(site.root, "rows").scan([card["row"]["row_key"]]).collect().row(0, named=True)
