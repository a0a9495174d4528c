"""Methods, protocols and data sets of other packages: found, checked, run, and in the lineage."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.cards import card_of
from bench.engine.evaluate import run_units
from bench.engine.runner import make_plan
from bench.engine.site import Site
from bench.engine.trained import find_trained
from bench.errors import UserError
from bench.store.fragments import Fragments
from bench.study.lineage import current_versions, files_digest, numerical_versions, source_hash
from bench.study.load import parse_study
from bench.study.methods import METHODS
from bench.study.plugins import source_files
from bench.study.protocols import PROTOCOLS
from bench.testing import DatasetContract, MethodContract, ProtocolContract
from tests.installing import install, install_example

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "rotation"

PROTOCOL = '''
from typing import ClassVar
from bench.study.protocols import KnnOptions

class NeighbourOptions(KnnOptions):
    """k-NN under another name."""
    name: ClassVar[str] = "neighbours"
    version: ClassVar[int] = 7
    summary: ClassVar[str] = "k-NN under another name"
    implementation: ClassVar[str] = "bench.protocols.knn:run"
'''
DATASET = """
from bench.data.place import DataPlugin

STRIPES = DataPlugin(
    folder="stripes", published=False, read="stripes_reader:read", version=3,
    card=("stripes", "80 grey, 8 x 8", "none", "data.root"),
)
"""
READER = """
import numpy as np
from bench.data.raw import RawImages
from bench.data.source import files_folder

def read(spec):
    folder = files_folder(spec)
    names = sorted(path.name for path in folder.iterdir())
    labels = np.array([int(name[0]) for name in names], np.int64)
    return RawImages(paths=tuple(names), labels=labels, class_names=("even", "odd"), root=folder)
"""


@pytest.fixture(scope="module", autouse=True)
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example and a package with a protocol and a data set, installed while this module is tested."""
    folder = install_example(EXAMPLE, tmp_path_factory.mktemp("site"))
    points = {"bench.protocols": {"neighbours": "neighbours_plug:NeighbourOptions"}}
    points["bench.datasets"] = {"stripes": "stripes_plug:STRIPES"}
    install(folder, "others", points, neighbours_plug=PROTOCOL, stripes_plug=DATASET, stripes_reader=READER)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


class TestRotation(MethodContract):
    name = "rotation"


class TestNeighbours(ProtocolContract):
    name = "neighbours"


class TestStripes(DatasetContract):
    name = "stripes"

    @pytest.fixture(autouse=True)
    def _images(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        root = tmp_path_factory.mktemp("data")
        (root / "stripes").mkdir()
        numbers = np.random.default_rng(0)
        for index in range(80):
            pixels = numbers.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(root / "stripes" / f"{index % 2}-{index:02}.png")
        self.options = {"root": str(root)}


def test_the_example_is_one_short_file() -> None:
    assert len((EXAMPLE / "bench_rotation.py").read_text().splitlines()) < 80


def test_a_study_runs_with_the_example(tmp_path: Path) -> None:
    raw = {
        "study": "plugged",
        "data": {"name": "digits", "max_train": 200, "max_test": 100},
        "seeds": 1,
        "methods": {"rotation": {"epochs": 2, "batch_size": 64}},
        "evaluate": [{"protocol": "neighbours", "label_budgets": [2], "draws": 1}],
    }
    plan = make_plan(parse_study(raw, "test"), tmp_path)
    (pretraining,) = (item for item in plan.pretrainings if item.setting.method == "rotation")
    outcome = run_units(Site(tmp_path, plan.study.data, plan.study.resources), pretraining, pretraining.units)
    assert outcome.status == "ok", outcome.details
    (row,) = Fragments(tmp_path, "rows").scan().collect().to_dicts()
    assert (row["method"], row["protocol"], row["status"]) == ("rotation", "neighbours", "ok")
    assert row["source_hash"] == source_hash("rotation", "neighbours")
    _, trained = find_trained(tmp_path, pretraining.key)
    assert trained.losses[0] == pytest.approx(np.log(4), abs=0.4)  # four answers, nothing learned yet


def test_its_code_is_in_the_lineage(site: Path) -> None:
    assert numerical_versions("rotation", "neighbours").items() >= {"rotation": 1, "neighbours": 7}.items()
    assert current_versions()["rotation"] == 1
    assert source_files(METHODS["rotation"]) == (site / "bench_rotation.py",)
    package, names = Path(sys.modules["bench"].__file__).parent, {*METHODS.built_in, *PROTOCOLS.built_in}

    def digest(*plugins: Path) -> str:
        return files_digest(package, "rotation", "linear", names, plugins)

    before = digest(*source_files(METHODS["rotation"]))
    assert before == source_hash("rotation", "linear")
    edited = site / "edited" / "bench_rotation.py"
    edited.parent.mkdir()
    edited.write_text((site / "bench_rotation.py").read_text() + "# edited\n")
    assert digest(edited) != before
    assert source_hash("mae", "linear") == files_digest(package, "mae", "linear", names)


def test_a_data_set_has_its_card() -> None:
    assert card_of("stripes").size == "80 grey, 8 x 8"


BROKEN = [
    ("bench.methods", "mae", "bench_rotation:RotationOptions", "bench has this name already"),
    ("bench.methods", "linear", "bench_rotation:RotationOptions", "bench has this name already"),
    ("bench.methods", "training", "bench_rotation:RotationOptions", "bench has this name already"),
    ("bench.methods", "rotation", "bench_rotation:RotationOptions", "one name for two plug-ins"),
    ("bench.methods", "lost", "no_such_module:Options", "cannot be imported .ModuleNotFoundError"),
    ("bench.methods", "lost", "bench_rotation:turned", "no subclass of MethodOptions"),
    ("bench.methods", "turning", "bench_rotation:RotationOptions", "name must be 'turning'"),
    ("bench.methods", "nameless", "bench.study.methods:TrainedOptions", "lacks the class attributes version, paper"),
    ("bench.protocols", "mae", "neighbours_plug:NeighbourOptions", "bench has this name already"),
]


@pytest.mark.parametrize(("group", "name", "value", "says"), BROKEN, ids=lambda value: str(value)[:30])
def test_what_cannot_be_used_is_one_line_that_names_the_package(
    group: str, name: str, value: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "site", "troublesome", {group: {name: value}}))
    registry = METHODS if group == "bench.methods" else PROTOCOLS
    with pytest.raises(UserError, match=f"troublesome 1.0.*{says}") as caught:
        registry[name]
    assert "\n" not in str(caught.value)
    assert registry["simclr" if registry is METHODS else "knn"].version >= 1  # the others are as they were


TWO_FILES = '''
from typing import ClassVar
from bench.study.methods import PixelsOptions

class PlainOptions(PixelsOptions):
    """Pixels under another name."""
    encoder_name: ClassVar[str] = "pixels"
    name: ClassVar[str] = "plain"
    version: ClassVar[int] = 1
    implementation: ClassVar[str] = "plain_network:Plain"
'''
NETWORK = '''
from bench.methods.pixels import Pixels

class Plain(Pixels):
    """Pixels under another name."""
'''
PLAN = """
study: plain
data: {name: digits, max_train: 200, max_test: 100}
methods: {plain: {}}
evaluate: [{protocol: knn, label_budgets: [2], draws: 1}]
"""
CODE = """
import sys
from pathlib import Path
from bench.study.load import load_study
from bench.study.expand import expand
study = load_study(Path(sys.argv[1]))
print([setting.method for setting in expand(study)], "torch" in sys.modules)
from bench.methods.registry import METHODS
print(METHODS["plain"].__name__, "torch" in sys.modules)
"""


def test_a_plan_loads_the_options_alone_and_another_process_finds_the_network(tmp_path: Path) -> None:
    points = {"bench.methods": {"plain": "plain_options:PlainOptions"}}
    folder = install(tmp_path / "site", "bench-plain", points, plain_options=TWO_FILES, plain_network=NETWORK)
    (tmp_path / "plain.yaml").write_text(PLAN)
    path = os.pathsep.join([str(folder), str(EXAMPLE.parents[2])])
    run = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "plain.yaml")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["['plain'] False", "Plain True"]
