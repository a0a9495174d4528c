"""Passwords, signatures and tokens in texts that are kept: told, refused, and blotted out of the errors of others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bench.errors import UserError

_BLOT = "***"
_NAMED = r"(?:sig|token|secret|password|passwd|pwd|credential|key)"
_SECRET = re.compile(
    # user:password@ before a host; a number before a slash is a port
    r"(?<=://)[^\s/@:]*:(?!\d+/)[^\s@]*(?=@)"
    rf"|(?<=[?&#])[^\s=&?#;]*{_NAMED}[^\s=&?#;]*=[^\s&#;]+"
    # what hosts call their tokens: AWS, GitHub, Hugging Face, Slack, Weights & Biases and OpenAI
    r"|(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|hf_[A-Za-z0-9]{30,}"
    r"|xox[abeprs]-[A-Za-z0-9-]{10,}|(?:sk|wandb_v1)[-_][A-Za-z0-9_-]{32,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----",
    re.IGNORECASE,
)
REFUSAL = (
    "holds a password, signature or token, which manifests, rows, bundles and logs would keep; give it to the library "
    "that reads the address, by its environment or its file"
)


def holds_secret(text: str) -> bool:
    """Whether a text holds a password before a host, a signature in a query, or the token of a known host."""
    return _SECRET.search(text) is not None


def redacted(text: str) -> str:
    """The text with every secret in it blotted out: what libraries say of an address may hold one."""
    return _SECRET.sub(_BLOT, text)


def said(error: BaseException, most: int = 300) -> str:
    """One line of an error: its type, and so many characters of what it says, without secrets."""
    return f"{type(error).__name__}: {' '.join(redacted(str(error)).split())[:most]}"


def check_place(key: str, place: str) -> None:
    """Raises:
    UserError: the place holds a secret; the message does not.
    """
    if holds_secret(place):
        raise UserError(f"{key} {redacted(place)}: {REFUSAL}")


def check_texts(key: str, value: Any) -> None:
    """As `refuse_secrets`, for what is to be written.

    Raises:
        UserError: a text in it holds a secret.
    """
    try:
        refuse_secrets(value)
    except ValueError as error:
        raise UserError(f"{key}: {error}") from None


def refuse_secrets(value: Any) -> Any:
    """The same plain data, as a check before a model reads them.

    Raises:
        ValueError: a key or a text in them holds a secret; the message says where, and not what.
    """
    for where, text in _texts(value, ""):
        if holds_secret(text):
            raise ValueError(f"{redacted(where)}: {REFUSAL}" if where else REFUSAL)
    return value


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            place = f"{where}.{key}" if where else str(key)
            yield place, str(key)
            yield from _texts(inner, place)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{where}.{number}" if where else str(number))
