"""Which code a number came from: numerical versions, and a digest of the source of the modules involved."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from bench.store.keys import KEY_LENGTH
from bench.study import versions
from bench.study.methods import METHODS
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

    Those are the rooms data, training, methods and protocols, less the files of other methods and protocols: a new
    method does not make old rows look edited.
    """
    others = {*METHODS, *PROTOCOLS} - {method, protocol}
    digest = hashlib.sha256()
    for room in _SHARED:
        for path in sorted((_PACKAGE / room).glob("*.py")):
            if path.stem not in others:
                digest.update(f"{room}/{path.name}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:KEY_LENGTH]


def current_sources() -> frozenset[str]:
    """The digests of today's source for every method and protocol."""
    return frozenset(source_hash(method, protocol) for method in METHODS for protocol in PROTOCOLS)
