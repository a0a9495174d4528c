"""The manual: it builds strictly and without a network, its links lead somewhere, and what it shows is so."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

from bench.data.catalog import DATASETS
from bench.data.draws import Draws
from bench.data.shape import ImageShape
from bench.results.leaderboard import COLUMNS
from bench.study.load import load_study
from bench.study.methods import METHODS
from bench.study.protocols import PROTOCOLS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
_FENCE = re.compile(r"^```(\S*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_EFFECT = re.compile(r"([+-]?\d\.\d{3}) \(([+-]?\d\.\d{3}) to ([+-]?\d\.\d{3})\)")
_MOST_BYTES = 200_000  # of a picture


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [block for found, block in _FENCE.findall(text) if found == language]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix("") for path in PAGES[1:]}
    for page in pages:
        name = page.with_name("index") if page.name == "README" else page
        assert (site / name).with_suffix(".html").is_file(), page
    assert not (site / "site").exists()


def test_a_page_fetches_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"?(https?://[^\" >]+)", html)
        fetched += [tag for tag in re.findall(r"<link[^>]+>", html) if "//" in tag and "canonical" not in tag]
        assert not fetched, f"{path.relative_to(site)}: {fetched}"


def test_files_of_the_repository_come_along(site: Path) -> None:
    page = (site / "papers" / "mae.html").read_text(encoding="utf-8")
    target = re.search(r"href=\"?([^\" >]*search_spaces/paper_mae_small\.yaml)", page)
    assert target is not None
    copy = (site / "papers" / target[1]).resolve()
    assert copy.read_bytes() == (ROOT / "search_spaces" / "paper_mae_small.yaml").read_bytes()


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text(encoding="utf-8")))
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"https?://|mailto:|#", link):
                yield page, link.partition("#")[0]


def test_links_lead_to_files() -> None:
    found = list(links())
    assert len(found) > 60
    missing = [f"{page.relative_to(ROOT)}: {link}" for page, link in found if not (page.parent / link).exists()]
    assert not missing


def test_pictures_are_small_and_used() -> None:
    used = {(page.parent / link).resolve() for page, link in links()}
    for picture in (DOCS / "pictures").iterdir():
        assert picture.stat().st_size < _MOST_BYTES, picture.name
        assert picture in used, f"{picture.name} is on no page"


@pytest.mark.parametrize("page", sorted(path.name for path in (DOCS / "papers").glob("*.md")))
def test_effects_are_those_of_the_published_studies(page: str) -> None:
    text = (DOCS / "papers" / page).read_text(encoding="utf-8")
    named = set(re.findall(r"\.\./results/(\w+)/README\.md", text))
    published = " ".join((DOCS / "results" / name / "README.md").read_text(encoding="utf-8") for name in sorted(named))
    stated = {tuple(map(float, effect)) for effect in _EFFECT.findall(published)}
    for effect in _EFFECT.findall(text):
        assert tuple(map(float, effect)) in stated, f"{page}: {effect} is not in docs/results any more"
    factors = r"(\d\.\d+x) (?:more|fewer) labels \(95 %: (\d\.\d+) to (\d\.\d+)\)"
    for saved, low, high in re.findall(factors, text):
        assert f"{saved} fewer labels (95 %: {low} to {high})" in published.replace("more", "fewer") or (
            f"{saved} ({low} to {high})" in published
        ), f"{page}: {saved} ({low} to {high}) is not in docs/results any more"


def test_signatures_are_those_of_the_code() -> None:
    shown = 0
    for block in blocks("api.md", "python"):
        module = re.match(r"# (bench[\w.]*)\n", block)
        for node in ast.parse(block).body if module else ():
            assert isinstance(node, ast.FunctionDef)
            assert module is not None
            signature = inspect.signature(getattr(importlib.import_module(module[1]), node.name))
            plain = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
            bare = signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)
            assert ast.unparse(node.args) == str(bare)[1:-1].replace('"', "'"), f"{module[1]}.{node.name}"
            shown += 1
    assert shown >= 8


def test_every_name_is_listed() -> None:
    text = (DOCS / "studies.md").read_text(encoding="utf-8")
    named = [*_built_in(METHODS), *_built_in(PROTOCOLS), *_built_in(DATASETS)]
    assert not [name for name in named if f"`{name}`" not in text]
    studies = [path.stem for path in (ROOT / "search_spaces").glob("*.yaml")]
    assert not [name for name in studies if name not in text and name.removesuffix("_small") not in text]


def _built_in(registry: Mapping[str, object]) -> list[str]:
    return [name for name in registry if name not in getattr(registry, "plugins", ())]


def test_the_columns_of_the_leaderboard_are_listed() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    assert not [column for column in COLUMNS if f"`{column}`" not in text]


@pytest.mark.parametrize("page", ["api.md", "tutorial.md", "extending.md", "schema.md"])
def test_python_is_python(page: str) -> None:
    found = blocks(page, "python")
    assert found
    for block in found:
        compile(block, page, "exec")


def test_the_example_images_of_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("tutorial.md", "python")
    exec(compile(block, "tutorial.md", "exec"), {})
    assert len(list((tmp_path / "MY_IMAGES").rglob("*.png"))) == 600
    from bench.data.inspect import inspect_data

    stated = blocks("tutorial.md", "text")[1].partition(";")[0].strip()
    assert inspect_data(str(tmp_path / "MY_IMAGES")).describe() == stated


def test_the_study_of_the_manual_is_one(tmp_path: Path) -> None:
    (block,) = blocks("extending.md", "yaml")
    path = tmp_path / "my_question.yaml"
    path.write_text(block, encoding="utf-8")
    study = load_study(path)
    assert study.scientific == {"mae.mask_ratio": (0.25, 0.5, 0.75)}
    assert study.claims


def test_the_method_of_the_manual_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    options, method = blocks("extending.md", "python")
    module = types.ModuleType("bench.study.methods.quarters")
    exec(compile(options, "quarters options", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "bench.study.methods.quarters", module)
    names: dict[str, object] = {}
    exec(compile(method, "quarters", "exec"), names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        build = names["Quarters"]
        assert callable(build)
        learner = build(module.QuartersOptions(), ImageShape(1, 8, 8), [0.5], [0.3])
    images = torch.rand((32, 1, 8, 8), generator=torch.Generator().manual_seed(1)).cumsum(2) / 8
    optimiser = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        loss, logged = learner(images, Draws(step, 32))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.3
    assert 0 <= float(logged["accuracy"]) <= 1
