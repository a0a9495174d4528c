"""Named seeds: every random draw in the project takes a seed derived from the name of what it is for."""

from __future__ import annotations

import hashlib


def named_seed(*names: object) -> int:
    """A 63-bit seed that depends on the names, in order, and on nothing else.

    >>> named_seed("draw", 0) == named_seed("draw", 0) != named_seed("draw", 1)
    True
    """
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
