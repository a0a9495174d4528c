"""A pydantic error in the words of a study: key, what is wrong, the value given."""

from __future__ import annotations

from pydantic import ValidationError


def describe(error: ValidationError, prefix: str = "") -> str:
    """The first mistakes of a pydantic error, one line each: key, what is wrong, the value given."""
    return "\n".join(_lines(error, prefix)[:3])


def _lines(error: ValidationError, prefix: str = "") -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in (prefix, *item["loc"]) if part != "")
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
        given = "" if item["type"] in ("missing", "value_error") else f", but got {item['input']!r}"
        lines.append(f"{where}: {message[0].lower() + message[1:]}{given}" if where else message)
    return lines
