"""From a YAML file and command-line overrides to a study, every mistake in one or two lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from bench.errors import UserError
from bench.study.expand import check_study
from bench.study.mistakes import describe
from bench.study.overrides import apply_overrides
from bench.study.spec import Study


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not a name", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.1 wants a dot in 1.0e-4; people write 1e-4
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def parse_yaml(text: str, name: str) -> Any:
    """Reads YAML safely.

    Raises:
        UserError: the text is not YAML; the message names the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{name}{line}: not valid YAML: {problem}") from None


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Reads a study file and applies `KEY=VALUE` overrides.

    Raises:
        UserError: the file is missing or says something it may not.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"study {str(path)!r}: no such file; {_known_studies()}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"study {str(path)!r}: cannot be read ({error})") from None
    raw = parse_yaml(text, path.name)
    if not isinstance(raw, dict):
        raise UserError(f"{path.name}: a study is a mapping with the keys study, data, methods, evaluate")
    pairs = [_split(override) for override in overrides]
    return parse_study(apply_overrides(raw, pairs), path.name)


def parse_study(raw: dict[str, Any], name: str) -> Study:
    """Checks plain data against the models.

    Raises:
        UserError: the first few mistakes, each with key, value and what is valid.
    """
    try:
        study = Study.model_validate(raw)
    except ValidationError as error:
        raise UserError("\n".join(f"{name}: {line}" for line in describe(error).splitlines())) from None
    try:
        check_study(study)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return study


def _split(override: str) -> tuple[str, Any]:
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise UserError(f"--set {override!r}: KEY=VALUE is needed, such as mae.mask_ratio=0.6")
    return path.strip(), parse_yaml(text, f"--set {path.strip()}")


def studies_folder() -> Path | None:
    """The folder of the studies that come with bench: beside the package, in a checkout and in a wheel alike."""
    folder = Path(__file__).resolve().parents[2] / "search_spaces"
    return folder if folder.is_dir() else None


def find_study(name: str | None) -> Path:
    """A study by path, or by the name of one that comes with bench; the quick start when nothing is named."""
    folder = studies_folder()
    if name is None:
        name = "quickstart"
    path = Path(name)
    if path.exists() or folder is None:
        return path
    for candidate in (folder / path.name, folder / f"{path.name}.yaml"):
        if candidate.is_file() and path.parent.name in ("", "search_spaces"):
            return candidate
    return path


def _known_studies() -> str:
    folder = studies_folder()
    names = sorted(file.stem for file in folder.glob("*.yaml")) if folder else []
    return f"studies that come with bench: {', '.join(names) or 'none'}"
