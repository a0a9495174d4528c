"""Text and tables as Markdown, with what would be read as markup escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")  # a new line could begin a heading or a fence


def plain(text: str) -> str:
    """The text in one line, with what Markdown would read as markup escaped."""
    return re.sub(r"([\\|*_<>`]|\](?=[(\[:]))", r"\\\1", _BREAKS.sub(" ", text))


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table with a heading; every cell plain text."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(plain(cell) for cell in row)} |" for row in rows)
