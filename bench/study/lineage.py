"""Which code a number came from: numerical versions, and a digest of the source of the modules involved."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from pathlib import Path

from bench.store.keys import KEY_LENGTH
from bench.study import versions
from bench.study.methods import METHODS
from bench.study.plugins import source_files
from bench.study.protocols import PROTOCOLS

_PACKAGE = Path(__file__).resolve().parents[1]
_SHARED = ("data", "training", "methods", "protocols")


def numerical_versions(method: str, protocol: str) -> dict[str, int]:
    """The numerical version of every piece of code that a row of this method and protocol depends on."""
    pieces = {method: METHODS[method].version, protocol: PROTOCOLS[protocol].version}
    return {**pieces, "data": versions.DATA, "training": versions.TRAINING, "features": versions.FEATURES}


def current_versions() -> dict[str, int]:
    """The numerical version of every piece of code, as it stands."""
    pieces = {name: options.version for name, options in METHODS.items()}
    pieces |= {name: options.version for name, options in PROTOCOLS.items()}
    return {**pieces, "data": versions.DATA, "training": versions.TRAINING, "features": versions.FEATURES}


@cache
def source_hash(method: str, protocol: str) -> str:
    """Digest of the source of the modules that make such a row.

    Those are the rooms data, training, methods and protocols, less the files of methods and protocols that this one
    does not build on: a new method does not make old rows look edited. Of a plug-in its own files count as well.
    """
    pieces = [METHODS[method]] * (method in METHODS.plugins) + [PROTOCOLS[protocol]] * (protocol in PROTOCOLS.plugins)
    plugins = [path for options in pieces for path in source_files(options)]
    return files_digest(_PACKAGE, method, protocol, {*METHODS.built_in, *PROTOCOLS.built_in}, plugins)


def files_digest(
    package: Path, method: str, protocol: str, names: Collection[str], plugins: Sequence[Path] = ()
) -> str:
    """Digest of the files that `source_hash` speaks of.

    Args:
        package: folder of the rooms.
        method: a method's name; its file is that of this name, if there is one.
        protocol: a protocol's name, likewise.
        names: of all methods and protocols of the package.
        plugins: files of a plug-in that is the method or the protocol.
    """
    imported = {module for path in plugins for module in _imports(path)} & set(names)
    others = set(names) - _built_on(package, {method, protocol} | imported, names)
    digest = hashlib.sha256()
    for room in _SHARED:
        for path in sorted((package / room).glob("*.py")):
            if path.stem not in others:
                digest.update(f"{room}/{path.name}\0".encode())
                digest.update(_content(path, path.stat().st_mtime_ns))
    for path in plugins:
        digest.update(f"plug-in/{path.name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:KEY_LENGTH]


@lru_cache(maxsize=1024)
def _content(path: Path, changed: int) -> bytes:
    """A file's bytes, read once: every pair of a method and a protocol asks for most files."""
    return path.read_bytes()


def _built_on(package: Path, start: set[str], names: Collection[str]) -> set[str]:
    """The methods and protocols whose files these import, directly or through such files, and these.

    What a shared file imports does not count: it would tie every method to every other.
    """
    found: set[str] = set()
    new = set(start)
    while new:
        found |= new
        files = [package / room / f"{name}.py" for room in ("methods", "protocols") for name in new]
        new = {module for path in files for module in _imports(path)} & set(names) - found
    return found


@cache
def _imports(path: Path) -> frozenset[str]:
    """Last parts of the names of the modules of the package that a file imports; none where there is no file."""
    if not path.is_file():
        return frozenset()
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    modules = [node.module for node in nodes if node.module and node.module.startswith("bench.")]
    return frozenset(module.rsplit(".", 1)[1] for module in modules if module.split(".")[1] in _SHARED)


def current_sources() -> frozenset[str]:
    """The digests of today's source for every method and protocol."""
    return frozenset(source_hash(method, protocol) for method in METHODS for protocol in PROTOCOLS)
