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

MOST_BYTES = 1 << 18  # of a YAML file
_MOST_PARTS = 20_000  # of a YAML file, what an alias stands for counted each time
_MOST_DEEP = 40
_MOST_DIGITS = 400  # of a whole number
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map", "merge", "value", "timestamp")


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number, refuses a key that stands twice, and holds what JSON can hold."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag not in _KNOWN:
            raise yaml.constructor.ConstructorError(None, None, f"the tag {node.tag!r} is not used", node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node)
        return super().construct_object(node, deep)

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


_KNOWN = {f"tag:yaml.org,2002:{name}" for name in _TAGS}
_INT, _TEXT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:str"
_Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.yaml_constructors[_TEXT])  # JSON has no dates
_Loader.add_implicit_resolver(  # YAML 1.1 wants a dot in 1.0e-4; people write 1e-4
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*\.?[\d_]*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def parse_yaml(text: str, name: str) -> Any:
    """Reads YAML safely.

    Raises:
        UserError: the text is not YAML, or too much of it; the message names the line.
    """
    try:
        _check_text(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, 0)
        return loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or (str(error).splitlines() or ["it cannot be read"])[0]
        raise UserError(f"{name}{line}: not valid YAML: {problem}") from None


def _check_text(text: str) -> None:
    if len(text) > MOST_BYTES:
        raise ValueError(f"{len(text):,} characters, more than the limit of {MOST_BYTES:,}")


def _check_scalar(node: yaml.ScalarNode) -> None:
    if node.tag == _INT and len(node.value) > _MOST_DIGITS:
        raise yaml.constructor.ConstructorError(None, None, "a number of too many digits", node.start_mark)
    try:
        node.value.encode()
    except UnicodeEncodeError:  # an escape that is half of a pair
        raise yaml.constructor.ConstructorError(None, None, "a text that is not UTF-8", node.start_mark) from None


def _count(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """The parts of a node with what its aliases stand for, so that no few lines become billions.

    Raises:
        yaml.YAMLError: too many, too deep, or a node within itself.
    """
    if depth > _MOST_DEEP:
        raise yaml.constructor.ConstructorError(None, None, f"more than {_MOST_DEEP} levels", node.start_mark)
    if id(node) not in known:
        inner = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        within = [] if isinstance(node, yaml.ScalarNode) else inner
        known[id(node)] = 1 + sum(_count(part, known, depth + 1) for part in within)
    if known[id(node)] > _MOST_PARTS:
        raise yaml.constructor.ConstructorError(None, None, f"more than {_MOST_PARTS:,} parts", node.start_mark)
    return known[id(node)]


def load_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Reads a study file and applies `KEY=VALUE` overrides.

    Raises:
        UserError: the file is missing or says something it may not.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"study {str(path)!r}: {path.stat().st_size:,} bytes; valid: up to {MOST_BYTES:,}")
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
