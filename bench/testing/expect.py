"""An expected error, without pytest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def raises(kind: type[BaseException], containing: str) -> Iterator[None]:
    """Fails unless the block raises this kind of error with these words in its message."""
    message = None
    try:
        yield
    except kind as error:
        message = str(error)
    assert message is not None, f"no {kind.__name__} was raised"
    assert containing in message, f"{containing!r} is not in the message {message!r}"
