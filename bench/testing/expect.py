"""An expected error, without pytest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def raises(kind: type[BaseException], containing: str) -> Iterator[None]:
    """Fails unless the block raises this kind of error with these words in its message."""
    try:
        yield
    except kind as error:
        assert containing in str(error), f"{containing!r} is not in the message {str(error)!r}"
    else:
        raise AssertionError(f"no {kind.__name__} was raised")
