"""Content keys: what a thing is computed from decides what it is called."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

KEY_LENGTH = 32  # hex digits: 128 bits, no collision to expect below 2^60 things


def canonical(value: Any) -> Any:
    """Plain JSON data in one spelling: sorted keys, tuples as lists, whole floats kept apart from integers.

    Raises:
        TypeError: the value holds something JSON has no word for.
        ValueError: a float is not finite.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a content key cannot hold the number {value!r}")
        return value
    if isinstance(value, Mapping):
        return {str(name): canonical(value[name]) for name in sorted(value, key=str)}
    if isinstance(value, Sequence):
        return [canonical(item) for item in value]
    raise TypeError(f"a content key cannot hold {type(value).__name__} {value!r}")


def canonical_json(value: Any) -> str:
    """The text that is hashed: canonical data, no blanks, UTF-8."""
    return json.dumps(canonical(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_key(kind: str, **parts: Any) -> str:
    """The key of a thing of this kind made from these parts (32 hex digits)."""
    return digest_text(canonical_json({"kind": kind, **parts}))


def key_of_texts(kind: str, **texts: str) -> str:
    """`content_key` of parts given as canonical JSON: what many keys share is spelled once, several times as fast."""
    texts["kind"] = json.dumps(kind)
    return digest_text("{" + ",".join(f'"{name}":{texts[name]}' for name in sorted(texts)) + "}")


def digest_text(text: str) -> str:
    """SHA-256 of a text, shortened to the length of a key."""
    return digest_bytes(text.encode())


def digest_bytes(data: bytes) -> str:
    """SHA-256 of bytes, shortened to the length of a key."""
    return hashlib.sha256(data).hexdigest()[:KEY_LENGTH]
