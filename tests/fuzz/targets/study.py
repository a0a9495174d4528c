"""Study files and `--set`: what is taken is a study that says the same when it is written and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bench.store.keys import content_key
from bench.study.load import load_study, parse_study, parse_yaml, studies_folder
from bench.study.methods import METHODS
from bench.study.spec import DataSpec, Resources, SearchSpec, Study
from tests.fuzz.harness import Target
from tests.fuzz.mutate import TOKENS, Rng, bytes_near, text_near, value_near

_FOLDER = studies_folder()
assert _FOLDER is not None
_TEXTS = [file.read_text(encoding="utf-8") for file in sorted(_FOLDER.glob("*.yaml")) if file.stat().st_size < 1500]
_TREES = [parse_yaml(text, "seed") for text in _TEXTS]
_SMALL = """study: small
data: {name: digits, image_size: 8}
methods: {mae: {epochs: 1}, random_init: {}, pixels: {}}
scientific: {mae.mask_ratio: [0.5, 0.75]}
nuisance: {mae.lr: {loguniform: [1e-4, 1e-2]}}
search: {trials: 2, sampler: random}
evaluate:
  - {protocol: linear, label_budgets: [1, all], draws: 2}
seeds: 1
"""
_SECTIONS = {"data": DataSpec, "search": SearchSpec, "resources": Resources}
_KEYS = [
    *Study.model_fields,
    *(f"{head}.{name}" for head, model in _SECTIONS.items() for name in model.model_fields),
    *(f"mae.{name}" for name in METHODS["mae"].model_fields),
    *(f"evaluate.{which}.{name}" for which in ("linear", "0", "9") for name in ("draws", "label_budgets", "protocol")),
    "methods.mae", "methods.simclr", "scientific.mae.mask_ratio", "nuisance.mae.lr", "", ".", "mae..x",
    "evaluate", "nothing", "data.", "seeds.x", "methods", "scientific.x", "evaluate.linear", "études", "data.root.x",
]  # fmt: skip


def _study(rng: Rng) -> bytes:
    """A file: the text of a study changed, its bytes changed, or its data changed and written anew."""
    which = int(rng.integers(len(_TEXTS) + 1))
    text = _SMALL if which == len(_TEXTS) else _TEXTS[which]
    kind = rng.random()
    if kind < 0.45:
        return text_near(text, rng).encode("utf-8", "surrogatepass")
    if kind < 0.6:
        return bytes_near(text.encode(), rng)
    tree = parse_yaml(_SMALL, "seed") if which == len(_TEXTS) else _TREES[which]
    try:
        written = yaml.dump(value_near(tree, rng), sort_keys=False, allow_unicode=rng.random() < 0.5)
    except ValueError:  # a number of more digits than Python writes
        written = text.replace("1", "9" * 5000)
    return written.encode("utf-8", "surrogatepass")


def _read_study(made: bytes, folder: Path) -> bool:
    path = folder / "study.yaml"
    path.write_bytes(made)
    _check(load_study(path))
    return True


def _overrides(rng: Rng) -> list[str]:
    return [_override(rng) for _ in range(int(rng.integers(1, 3)))]


def _override(rng: Rng) -> str:
    key = _KEYS[int(rng.integers(len(_KEYS)))]
    value = TOKENS[int(rng.integers(len(TOKENS)))]
    text = f"{key}={value}"
    return text_near(text, rng) if rng.random() < 0.3 else text


def _read_overrides(made: list[str], folder: Path) -> bool:
    path = folder / "small.yaml"
    if not path.exists():
        path.write_text(_SMALL)
    _check(load_study(path, made))
    return True


def _check(study: Study) -> None:
    written: dict[str, Any] = study.as_json()
    content_key("study", study=written)
    assert parse_study(written, "again").as_json() == written


STUDY_YAML = Target(_study, _read_study, share=2)
OVERRIDES = Target(_overrides, _read_overrides, share=3)
